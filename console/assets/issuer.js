// Signing in at an OpenID Connect issuer: the code flow with PKCE (RFC 7636). The issuer's page opens in a window of its
// own, so that this page keeps what was typed. That window returns to the console, which passes the code on.
import { problemOf, send } from "./api.js";
import { t } from "./i18n.js";
import { hasSignedOut } from "./session.js";

const CHANNEL = "console.sign-in";

const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/** Returns how people sign in at an issuer, or null if this service has no issuer for the console. */
export async function issuerOf(signal) {
  // Not `request`, which waits until the person has signed in.
  const answer = await send("/console/config.json", { as: null, signal });
  if (!answer.ok) throw await problemOf(answer);
  // PKCE needs a hash, which exists only over HTTPS and on this machine.
  return crypto.subtle ? (await answer.json()).sign_in : null;
}

/** Passes the code on if this window has returned from the issuer. Returns `good` or `bad` if it has, and null otherwise. */
export function returned() {
  const answer = new URLSearchParams(location.search);
  if (!answer.has("state") || !(answer.has("code") || answer.has("error"))) return null;
  new BroadcastChannel(CHANNEL).postMessage(Object.fromEntries(answer));
  history.replaceState(null, "", location.pathname);
  window.close();
  return answer.has("code") ? "good" : "bad";
}

/**
 * Waits for the code of this sign-in. Whether its window is closed is not known: issuers with a
 * Cross-Origin-Opener-Policy hide their windows, which then always seem closed. Therefore, the person can cancel.
 */
function codeOf(state, signal) {
  const channel = new BroadcastChannel(CHANNEL);
  return new Promise((resolve, reject) => {
    channel.onmessage = ({ data }) => data.state === state && resolve(data);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  }).finally(() => channel.close());
}

/** Signs in at the issuer. Returns the access token. Must be called in the handler of a click, which may open a window. */
export async function tokenOf({ issuer, client_id, scope, audience }, signal) {
  const signInWindow = window.open("", "", "popup,width=520,height=680");
  if (!signInWindow) throw new Error(t("sign-in.blocked"));
  try {
    const found = await fetch(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, { signal });
    const { authorization_endpoint, token_endpoint, ...metadata } = await found.json();
    if (metadata.issuer !== issuer) throw new Error(t("sign-in.failed"));
    const [state, verifier] = [random(), random()];
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
    const redirect_uri = new URL(location.pathname, location.origin).href;
    const parameters = {
      response_type: "code",
      code_challenge: base64url(new Uint8Array(digest)),
      code_challenge_method: "S256",
      client_id,
      redirect_uri,
      scope,
      audience,
      state,
      // Otherwise, the issuer would sign the former person in again without a question.
      ...(hasSignedOut() && { prompt: "select_account" }),
    };
    const address = new URL(authorization_endpoint);
    Object.entries(parameters).forEach(([name, value]) => address.searchParams.set(name, value));
    const coming = codeOf(state, signal);
    signInWindow.location.replace(address);
    const { code, iss = issuer, error_description, error } = await coming;
    // RFC 9207: a code of another issuer must not be sent to this one.
    if (!code || iss !== issuer) throw new Error(error_description ?? error ?? t("sign-in.failed"));
    const body = new URLSearchParams({ grant_type: "authorization_code", code_verifier: verifier, client_id, redirect_uri, code });
    const answer = await (await fetch(token_endpoint, { method: "POST", body, signal })).json();
    if (!answer.access_token) throw new Error(answer.error_description ?? answer.error ?? t("sign-in.failed"));
    return answer.access_token;
  } finally {
    signInWindow.close();
  }
}
