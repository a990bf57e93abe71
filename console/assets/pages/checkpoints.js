// The checkpoints that the auditor trusts: the newest one of the log, the pinned one, and the key of the log.
import { html, useLoaded, useState } from "../html.js";
import { reconnects } from "../api.js";
import { number, t } from "../i18n.js";
import { canVerify, parseCheckpoint, parseHead, parseVerifierKey, toHex, verifySignature } from "../log-format.js";
import { assess, keepKey, pin, trust } from "../trust.js";
import { Badge, Facts, Failure, Field, Loading, Title, useAction } from "../ui.js";

const PINS = { extended: ["good", "extends"], different: ["bad", "extends.not"], beyond: ["warn", "extends.beyond"] };
const SIGNATURES = { valid: "good", invalid: "bad", unsigned: "bad", unsupported: "neutral", "no-key": "neutral" };

/** The newest checkpoint, compared with the pinned checkpoint and the key. */
function Newest({ assessed: { checkpoint, signature, missing, broken, fork, ...assessed } }) {
  if (missing) return html`<p><${Badge}>${t("checkpoint.none")}<//> ${t(missing === "log-not-published" ? "verify.not-published" : "checkpoint.not-yet")}</p>`;
  const [kind, text] = PINS[assessed.pin] ?? [];
  return html`
    <${Facts} of=${[
      [t("origin"), checkpoint.origin],
      [t("events"), number(checkpoint.size)],
      [t("root"), html`<code>${toHex(checkpoint.root)}</code>`],
      [t("signature"), html`<${Badge} kind=${SIGNATURES[signature]}>${t(`signature.${signature}`)}<//>`],
      kind && [t("pinned"), html`<${Badge} kind=${kind}>${t(text)}<//>`],
    ].filter(Boolean)} />
    ${broken && html`<div class="notice bad" role="alert"><p>${t("checkpoint.broken")}</p><p class="small">${t(broken)}</p></div>`}
    ${assessed.pin === "beyond" && html`<p class="notice warn">${t("checkpoint.beyond")}</p>`}
    ${fork && html`<details><summary>${t("checkpoint.fork")}</summary>
      ${fork.map((note) => html`<pre class="message" tabindex="0" role="region"
        aria-label=${t("pin.paste")}>${note}</pre>`)}</details>`}
    ${!broken && html`<div class="actions"><button type="button"
      onClick=${() => pin(checkpoint)}>${t("pin.newest")}</button></div>`}`;
}

/** Pins a checkpoint that the auditor has kept elsewhere. */
function Paste() {
  const [text, setText] = useState("");
  const { run, error } = useAction(async () => {
    const head = parseHead(text) ?? parseCheckpoint(text);
    if (!head) throw new Error(t("pin.malformed"));
    const verifier = head.signatures && (await parseVerifierKey(trust.get().key));
    if (verifier && ["invalid", "unsigned"].includes(await verifySignature(head, verifier))) throw new Error(t("verify.signature"));
    pin(head);
    setText("");
  });
  const submit = (event) => {
    event.preventDefault();
    run();
  };
  return html`<form onSubmit=${submit}>
    <${Field} as="textarea" rows="5" label=${t("pin.paste")} hint=${t("pin.hint")} spellcheck="false" value=${text}
      onInput=${(event) => setText(event.target.value)} />
    <${Failure} error=${error} />
    <div class="actions"><button disabled=${!text.trim()}>${t("pin")}</button></div>
  </form>`;
}

function Key() {
  const [text, setText] = useState(trust.get().key);
  const [said, setSaid] = useState("");
  const { run, error } = useAction(async () => {
    setSaid("");
    if (text.trim() && !(await parseVerifierKey(text))) throw new Error(t("key.malformed"));
    keepKey(text.trim());
    setSaid(t("saved"));
  });
  const submit = (event) => {
    event.preventDefault();
    run();
  };
  return html`<form onSubmit=${submit}>
    <${Field} label=${t("key")} hint=${t("key.hint")} spellcheck="false" autocomplete="off" value=${text}
      onInput=${(event) => setText(event.target.value)} />
    <${Failure} error=${error} />
    <div class="actions"><span role="status" class="muted">${said}</span><button>${t("save")}</button></div>
  </form>`;
}

export function Checkpoints() {
  const { pin: pinned, key } = trust.use();
  const round = reconnects.use();
  const newest = useLoaded(() => (canVerify() ? assess() : Promise.reject(new Error(t("verify.no-crypto")))), [pinned, key, round]);
  return html`
    <${Title}>${t("page.checkpoints")}<//>
    <p class="muted">${t("checkpoints.text")}</p>
    <div class="columns">
      <section class="card" aria-labelledby="newest"><h2 id="newest">${t("checkpoint.newest")}</h2>
        <${Loading} of=${newest}>${newest.data && html`<${Newest} assessed=${newest.data} />`}<//>
      </section>
      <section class="card" aria-labelledby="pinned"><h2 id="pinned">${t("pinned")}</h2>
        ${pinned
          ? html`<${Facts} of=${[[t("events"), number(pinned.size)], [t("root"), html`<code>${pinned.root}</code>`]]} />
              <div class="actions"><button type="button" onClick=${() => pin(null)}>${t("unpin")}</button></div>`
          : html`<p class="muted">${t("pin.none")}</p>`}
        <${Paste} />
      </section>
      <section class="card" aria-labelledby="key"><h2 id="key">${t("key.title")}</h2><${Key} /></section>
    </div>`;
}
