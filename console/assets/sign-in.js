// Signing in with an access token, or at an issuer. The token is kept for this tab only.
import { html, useLoaded, useState } from "./html.js";
import { Problem, reconnects } from "./api.js";
import { t } from "./i18n.js";
import { issuerOf, tokenOf } from "./issuer.js";
import { signIn, signOut } from "./session.js";
import { Dialog, Failure, Field, Title, useAction } from "./ui.js";

async function enter(token) {
  if (!(await signIn(token))) throw new Problem(401, { type: "/problems/unauthorized", detail: t("sign-in.rejected") });
}

function Issuer() {
  const { data: issuer, error: notRead } = useLoaded(issuerOf, [reconnects.use()]);
  const { run, busy, error, cancel } = useAction(async (signal) => enter(await tokenOf(issuer, signal)));
  if (!issuer) return html`<${Failure} error=${notRead} />`;
  return html`<div class="issuer">
    <button type="button" class="primary" disabled=${busy}
      onClick=${run}>${t("sign-in.issuer", { issuer: new URL(issuer.issuer).host })}</button>
    <div role="status">${busy && html`<p>${t("sign-in.waiting")} <button type="button"
      onClick=${cancel}>${t("cancel")}</button></p>`}</div>
    <${Failure} error=${error} />
  </div>`;
}

function Form({ children }) {
  const [token, setToken] = useState("");
  const { run, busy, error } = useAction(() => enter(token.trim()));
  const submit = (event) => {
    event.preventDefault();
    run();
  };
  return html`<form onSubmit=${submit}>
    <${Field} label=${t("token")} hint=${t("token.hint")} type="password" name="token" autocomplete="off" required
      value=${token} onInput=${(event) => setToken(event.target.value)} />
    <${Failure} error=${error} />
    <div class="actions">
      ${children}
      <button class="primary" disabled=${busy}>${t("sign-in")}</button>
    </div>
  </form>`;
}

/** The page of people who are not signed in. */
export const SignIn = () => html`<section
  class="card narrow"><${Title}>${t("sign-in")}<//><p>${t("sign-in.text")}</p><${Issuer} /><${Form} /></section>`;

/** Asks for a new token, above the page, which keeps what was typed. */
export const SignInAgain = () => html`<${Dialog} title=${t("sign-in.again")}>
  <p>${t("sign-in.again.text")}</p>
  <${Issuer} />
  <${Form}><button type="button" onClick=${signOut}>${t("sign-out")}</button><//>
<//>`;
