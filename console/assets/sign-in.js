// Signing in with an access token or a JWT. The token is kept for this tab only.
import { html, useState } from "./html.js";
import { Problem } from "./api.js";
import { t } from "./i18n.js";
import { signIn, signOut } from "./session.js";
import { Dialog, Failure, Field, Title, useAction } from "./ui.js";

function Form({ children }) {
  const [token, setToken] = useState("");
  const { run, busy, error } = useAction(async () => {
    if (!(await signIn(token.trim()))) throw new Problem(401, { type: "/problems/unauthorized", detail: t("sign-in.rejected") });
  });
  const submit = (event) => {
    event.preventDefault();
    run();
  };
  return html`<form onSubmit=${submit}>
    <${Field} label=${t("token")} hint=${t("token.hint")} type="password" name="token" autocomplete="off" required autofocus
      value=${token} onInput=${(event) => setToken(event.target.value)} />
    <${Failure} error=${error} />
    <div class="actions">
      ${children}
      <button class="primary" disabled=${busy}>${t("sign-in")}</button>
    </div>
  </form>`;
}

/** The page of people who are not signed in. */
export const SignIn = () => html`<section class="card narrow"><${Title}>${t("sign-in")}<//><p>${t("sign-in.text")}</p><${Form} /></section>`;

/** Asks for a new token, above the page, which keeps what was typed. */
export const SignInAgain = () => html`<${Dialog} title=${t("sign-in.again")} onClose=${signOut}>
  <p>${t("sign-in.again.text")}</p>
  <${Form}><button type="button" onClick=${signOut}>${t("sign-out")}</button><//>
<//>`;
