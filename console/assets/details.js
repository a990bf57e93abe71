// The four details of a patient, as fields of a form.
import { html, useRef } from "./html.js";
import { newKey, Problem } from "./api.js";
import { has, t } from "./i18n.js";
import { Field } from "./ui.js";

export const EMPTY = { name: "", email: "", phone: "", document_url: "" };
export const DETAILS = Object.keys(EMPTY);

const INPUTS = {
  name: { autocomplete: "off", dir: "auto", required: true },
  email: { type: "email", inputmode: "email", autocomplete: "off", required: true },
  phone: { type: "tel", autocomplete: "off", required: true },
  document_url: { type: "url", inputmode: "url", autocomplete: "off", required: true },
};

/**
 * Returns a function that returns the key of a change. The key stays the same while the change is the same, so a double
 * click, or a repetition after a lost response, makes one change.
 */
export function useKey() {
  const key = useRef({ of: null, value: null });
  return (...parts) => {
    const of = JSON.stringify(parts);
    if (key.current.of !== of) key.current = { of, value: newKey() };
    return key.current.value;
  };
}

/** Returns the server's messages about each field. */
export function errorsByField(error) {
  const errors = {};
  if (!(error instanceof Problem)) return errors;
  for (const { field, message } of error.errors) (errors[field] ??= []).push(message);
  if (error.slug === "email-taken") errors.email = [error.message];
  return errors;
}

export function DetailFields({ details, onChange, errors }) {
  return DETAILS.map((name) => html`<${Field} key=${name} label=${t(name)} hint=${has(`${name}.hint`) && t(`${name}.hint`)}
    name=${name} errors=${errors[name]}
    value=${details[name]} onInput=${(event) => onChange((before) => ({ ...before, [name]: event.target.value }))}
      ...${INPUTS[name]} />`);
}
