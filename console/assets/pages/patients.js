// Finding patients: one box for words of the name, an email address or an id.
import { html, shared, useEffect, useState } from "../html.js";
import { get, page, Problem, query, readOwnWrites, reconnects } from "../api.js";
import { t } from "../i18n.js";
import { link, UUID } from "../router.js";
import { session } from "../session.js";
import { Field, Loading, Table, Title, usePages } from "../ui.js";

const LIMIT = 50;
/** Pages that are read at most until enough patients are found. */
const MOST_PAGES = 10;

/** The search text. It is kept while the tab is open, and never becomes part of an address. */
const sought = shared("");

/** Returns a page of the patients who match a text. */
async function find(text, next, signal) {
  if (UUID.test(text)) {
    try {
      return { rows: [await get(`/patients/${text.toLowerCase()}`, { signal })] };
    } catch (error) {
      if (error instanceof Problem && error.status === 410) return { rows: [], gone: text.toLowerCase() };
      if (error instanceof Problem && error.status === 404) return { rows: [] };
      throw error;
    }
  }
  const filter = text.includes("@") ? { email: text } : { name: text };
  const first = query({ limit: LIMIT, ...filter });
  try {
    let found = await page("/patients", next ?? first, { signal, headers: readOwnWrites() });
    // A page of a filtered list can be short although there are more pages, because the work for a page is limited.
    for (let pages = 1; found.rows.length < LIMIT / 2 && found.next && pages < MOST_PAGES; pages += 1) {
      const following = await page("/patients", found.next, { signal });
      found = { ...following, rows: [...found.rows, ...following.rows] };
    }
    return found;
  } catch (error) {
    if (!(error instanceof Problem && error.status === 422)) throw error;
    // An address that is not complete yet is not valid.
    if (filter.email) return { rows: [], incomplete: true };
    return { rows: [], invalid: error.errors.map(({ message }) => message) };
  }
}

export function Patients() {
  const text = sought.use();
  const [settled, setSettled] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text.trim()), 200);
    return () => clearTimeout(timer);
  }, [text]);
  const found = usePages((next, signal) => find(settled, next, signal), undefined, [settled, reconnects.use()]);
  const { incomplete, invalid = [], gone } = found.data ?? {};
  const mayRegister = session.get().roles.has("clerk");
  const said = () => {
    if (incomplete) return t("patients.incomplete");
    if (invalid.length > 0) return t("patients.invalid");
    if (gone) return t("patients.gone");
    if (found.rows.length > 0) return t("patients.shown", { count: found.rows.length });
    return t(settled ? "patients.none" : "patients.empty");
  };
  const columns = [
    [t("name"), (row) => html`<a href=${link("patients", row.id)}><bdi>${row.name}</bdi></a>`],
    [t("email"), (row) => row.email],
    [t("id"), (row) => html`<code>${row.id}</code>`],
  ];
  return html`
    <${Title} actions=${mayRegister && html`<a class="button primary"
      href=${link("patients", "new")}>${t("page.register")}</a>`}>${t("page.patients")}<//>
    <form role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Field} label=${t("patients.search")} hint=${t("patients.hint")} type="search" autocomplete="off" spellcheck="false"
        dir="auto" errors=${invalid}
        value=${text} onInput=${(event) => sought.set(event.target.value)} />
    </form>
    <${Loading} of=${found}>
      <p class="muted small" role="status">${said()}</p>
      ${gone && session.get().roles.has("auditor") && html`<p><a
        href=${link("patients", gone, "history")}>${t("patient.history")}</a></p>`}
      ${found.rows.length > 0 && html`<${Table} caption=${t("page.patients")} columns=${columns} rows=${found.rows}
        keyOf=${(row) => row.id} />`}
      ${found.more}
    <//>`;
}
