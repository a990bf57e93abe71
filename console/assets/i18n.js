// The language of the pages.
import { shared } from "./html.js";
import en from "./en.js";
import es from "./es.js";

const LANGUAGES = { en, es };
const LANGUAGE = "console.language";
const preferred = [localStorage.getItem(LANGUAGE), ...navigator.languages.map((name) => name.slice(0, 2)), "en"];

export const language = shared(preferred.find((name) => Object.hasOwn(LANGUAGES, name)));
document.documentElement.lang = language.get();

export function setLanguage(name) {
  localStorage.setItem(LANGUAGE, name);
  document.documentElement.lang = name;
  language.set(name);
}

/** Returns a text. `{name}` in the text is replaced with a value. */
export function t(key, values = {}) {
  const text = LANGUAGES[language.get()][key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** Returns whether the language has a text of its own. */
export const has = (key) => Object.hasOwn(LANGUAGES[language.get()], key);

const formats = new Map();
function format(Kind, options) {
  const key = `${language.get()} ${Kind.name} ${JSON.stringify(options)}`;
  if (!formats.has(key)) formats.set(key, new Kind(language.get(), options));
  return formats.get(key);
}

export const number = (value) => format(Intl.NumberFormat, { maximumFractionDigits: 1 }).format(value);
export const percent = (value) => format(Intl.NumberFormat, { style: "percent", maximumFractionDigits: 1 }).format(value);

/** Returns a time in the reader's zone. */
export const time = (value) => format(Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "medium" }).format(new Date(value));
export const clock = (value) => format(Intl.DateTimeFormat, { timeStyle: "short" }).format(new Date(value));
/** Returns a date without a time, such as the last day of a hold, which has no zone. */
export const day = (value) => format(Intl.DateTimeFormat, { dateStyle: "long", timeZone: "UTC" }).format(new Date(value));

/** Returns a number of seconds as a duration, such as `2 min`. */
export function duration(seconds) {
  const unit = (value, name) => {
    const options = { style: "unit", unit: name, maximumFractionDigits: value < 10 ? 1 : 0 };
    return format(Intl.NumberFormat, options).format(value);
  };
  if (seconds > 0 && seconds < 1) return unit(seconds * 1000, "millisecond");
  if (seconds < 60) return unit(seconds, "second");
  if (seconds < 3600) return unit(seconds / 60, "minute");
  if (seconds < 86_400) return unit(seconds / 3600, "hour");
  return unit(seconds / 86_400, "day");
}
