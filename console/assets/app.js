// The frame of the console: navigation, language, color scheme, signing in, and the choice of the page.
import { html, render, useEffect, useState } from "./html.js";
import { connection } from "./api.js";
import { language, setLanguage, t } from "./i18n.js";
import { returned } from "./issuer.js";
import { link, route, UUID } from "./router.js";
import { session, signOut, start } from "./session.js";
import { SignIn, SignInAgain } from "./sign-in.js";
import { Failure, Title } from "./ui.js";
import { Patients } from "./pages/patients.js";
import { Register } from "./pages/register.js";
import { PatientPage } from "./pages/patient.js";
import { Timeline } from "./pages/timeline.js";
import { Log } from "./pages/log.js";
import { Reads } from "./pages/reads.js";
import { Checks } from "./pages/checks.js";
import { Checkpoints } from "./pages/checkpoints.js";
import { Overview } from "./pages/overview.js";
import { Projections } from "./pages/projections.js";
import { Mail } from "./pages/mail.js";
import { Delivery } from "./pages/delivery.js";
import { MailTrial } from "./pages/mail-trial.js";
import { Privacy } from "./pages/privacy.js";
import { follow } from "./measurements.js";

const POSITION = /^[1-9]\d*$/;

/**
 * The pages: the roles that may use a page, its route, and the key of its title. A page with a group has an entry in
 * the navigation. Patterns match ids. Titles contain no data, because browsers keep them in their history.
 */
const PAGES = [
  { roles: ["clerk", "auditor"], at: ["patients"], page: Patients, title: "page.patients", group: "patients" },
  { roles: ["clerk"], at: ["patients", "new"], page: Register, title: "page.register", group: "patients" },
  { roles: ["clerk", "auditor"], at: ["patients", UUID], page: PatientPage, title: "patient" },
  { roles: ["auditor"], at: ["patients", UUID, "history"], page: Timeline, title: "patient.history" },
  { roles: ["auditor"], at: ["log"], page: Log, title: "page.log", group: "audit" },
  { roles: ["auditor"], at: ["checkpoints"], page: Checkpoints, title: "page.checkpoints", group: "audit" },
  { roles: ["auditor"], at: ["reads"], page: Reads, title: "page.reads", group: "audit" },
  { roles: ["privacy"], at: ["privacy"], page: Privacy, title: "page.privacy", group: "privacy" },
  { roles: ["privacy"], at: ["privacy", UUID], page: Privacy, title: "patient.privacy" },
  { roles: ["operator"], at: ["overview"], page: Overview, title: "page.overview", group: "operations" },
  { roles: ["operator"], at: ["projections"], page: Projections, title: "page.projections", group: "operations" },
  { roles: ["operator"], at: ["checks"], page: Checks, title: "page.checks", group: "operations" },
  { roles: ["operator"], at: ["mail"], page: Mail, title: "page.mail", group: "operations" },
  { roles: ["operator"], at: ["mail", "test"], page: MailTrial, title: "page.mail-test", group: "operations" },
  { roles: ["operator"], at: ["mail", POSITION], page: Delivery, title: "page.mail" },
];

const allowed = (page) => page.roles.some((role) => session.get().roles.has(role));
const matches = (page, segments) =>
  page.at.length === segments.length && page.at.every((part, index) => (part instanceof RegExp ? part.test(segments[index]) : part === segments[index]));

/** Returns the page of a route. Without a route, it is the first page of the person's roles. */
const pageAt = (segments) =>
  PAGES.find((page) => (segments.length === 0 ? page.group && allowed(page) : matches(page, segments)));

function Navigation({ segments }) {
  const listed = PAGES.filter((page) => page.group && allowed(page));
  const groups = [...new Set(listed.map((page) => page.group))];
  const current = (page) => {
    if (matches(page, segments)) return "page";
    // A page without an entry of its own belongs to the entry of its first segment.
    return page.at.length === 1 && page.at[0] === segments[0] ? "true" : undefined;
  };
  return html`<nav aria-label=${t("navigation")}>
    ${groups.map((group) => html`<div class="group" key=${group}>
      <p class="group-name" id="group-${group}">${t(`group.${group}`)}</p>
      <ul aria-labelledby="group-${group}">
        ${listed.filter((page) => page.group === group).map((page) => html`<li>
          <a href=${link(...page.at)} aria-current=${current(page)}>${t(page.title)}</a>
        </li>`)}
      </ul>
    </div>`)}
  </nav>`;
}

const SCHEMES = ["auto", "light", "dark"];

function Preferences() {
  const [scheme, setScheme] = useState(localStorage.getItem("console.scheme") ?? "auto");
  const choose = (event) => {
    const value = event.target.value;
    setScheme(value);
    if (value === "auto") {
      localStorage.removeItem("console.scheme");
      delete document.documentElement.dataset.scheme;
    } else {
      localStorage.setItem("console.scheme", value);
      document.documentElement.dataset.scheme = value;
    }
  };
  return html`<div class="preferences">
    <select aria-label=${t("language")} value=${language.get()} onChange=${(event) => setLanguage(event.target.value)}>
      <option value="en" lang="en">English</option>
      <option value="es" lang="es">Español</option>
    </select>
    <select aria-label=${t("scheme")} value=${scheme} onChange=${choose}>
      ${SCHEMES.map((name) => html`<option value=${name}>${t(`scheme.${name}`)}</option>`)}
    </select>
    ${session.get().state !== "out" && !session.get().open && html`<button type="button"
      onClick=${signOut}>${t("sign-out")}</button>`}
  </div>`;
}

/** Says that the service cannot be reached, and when the next attempt is. */
function Unreachable() {
  const { up, retryAt } = connection.use();
  const [, tick] = useState(0);
  useEffect(() => {
    if (up) return undefined;
    const timer = setInterval(() => tick((count) => count + 1), 500);
    return () => clearInterval(timer);
  }, [up]);
  const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  return html`<div role="status" class="connection">
    ${!up && html`<p class="notice warn">${t("connection.down")} <span
      aria-hidden="true">${t("connection.retry", { seconds })}</span></p>`}
  </div>`;
}

function Page({ segments }) {
  if (session.get().roles.size === 0) return html`<${Title}>${t("no-role")}<//><p>${t("no-role.text")}</p>`;
  const found = pageAt(segments);
  const at = segments.join("/");
  if (!found) return html`<${Title} key=${at}>${t("no-page")}<//>`;
  if (!allowed(found)) {
    const roles = found.roles.map((role) => t(`role.${role}`)).join(", ");
    return html`<${Title} key=${at}>${t("not-allowed")}<//><p>${t("not-allowed.text", { roles })}</p>`;
  }
  const id = segments[found.at.findIndex((part) => part instanceof RegExp)];
  return html`<${found.page} key=${at} id=${id} />`;
}

function App() {
  const { state, roles, error } = session.use();
  const segments = route.use();
  language.use();
  const operates = roles.has("operator");
  useEffect(() => (operates ? follow() : undefined), [operates]);
  useEffect(() => {
    const page = state === "in" ? pageAt(segments) : null;
    document.title = page ? `${t(page.title)} · ${t("title")}` : t("title");
  });
  const within = state === "in" || state === "expired";
  // On a narrow screen, a button opens the navigation. It closes when a page is chosen.
  const [menu, setMenu] = useState(false);
  useEffect(() => setMenu(false), [segments]);
  return html`
    <a class="skip" href="#main" onClick=${skip}>${t("skip")}</a>
    <header class=${within ? (menu ? "within open" : "within") : ""}>
      <a class="brand" href="#/"><span aria-hidden="true" class="mark"></span>${t("title")}</a>
      ${within && html`<button type="button" class="menu" aria-expanded=${String(menu)}
        onClick=${() => setMenu(!menu)}>${t("menu")}</button>`}
      <${Preferences} />
    </header>
    <${Unreachable} />
    <div class=${within ? "frame" : "frame alone"}>
      ${within && html`<${Navigation} segments=${segments} />`}
      <main id="main" tabindex="-1">
        ${state === "starting" && html`<p role="status" class="muted">${t("loading")}</p><${Failure} error=${error} />`}
        ${state === "out" && html`<${SignIn} />`}
        ${within && html`<${Page} segments=${segments} />`}
      </main>
    </div>
    ${state === "expired" && html`<${SignInAgain} />`}`;
}

/** Moves the focus without changing the route after the `#`. */
function skip(event) {
  event.preventDefault();
  document.querySelector("main").focus();
}

const app = document.getElementById("app");
const outcome = returned();
if (outcome) {
  render(html`<main><p>${t(`sign-in.returned.${outcome}`)}</p></main>`, app);
} else {
  render(html`<${App} />`, app);
  start();
}
