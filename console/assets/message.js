// Reading an email (RFC 5322 and MIME), enough for the emails of this service.

const utf8 = (binary) => new TextDecoder().decode(Uint8Array.from(binary, (character) => character.charCodeAt(0)));
const fromBase64 = (text) => utf8(atob(text.replace(/\s/g, "")));
const fromQuoted = (text) =>
  utf8(text.replace(/=\r?\n/g, "").replace(/=([0-9A-F]{2})/g, (_, digits) => String.fromCharCode(parseInt(digits, 16))));

function decoded(body, encoding) {
  if (/base64/i.test(encoding)) return fromBase64(body);
  return /quoted-printable/i.test(encoding) ? fromQuoted(body) : body;
}

/** Decodes the encoded words of a header (RFC 2047). */
const words = (text) =>
  text
    .replace(/\?=\s+=\?/g, "?==?")
    .replace(/=\?utf-8\?b\?(.*?)\?=/gi, (_, word) => fromBase64(word))
    .replace(/=\?utf-8\?q\?(.*?)\?=/gi, (_, word) => fromQuoted(word.replace(/_/g, " ")));

function part(text) {
  const [, head, body = ""] = /^([\s\S]*?)\r?\n\r?\n([\s\S]*)$/.exec(text) ?? [null, text];
  const lines = head.replace(/\r?\n[ \t]+/g, " ").split(/\r?\n/);
  const fields = lines.map((line) => /^([^:]+):(.*)$/.exec(line)).filter(Boolean);
  const headers = Object.fromEntries(fields.map(([, name, value]) => [name.toLowerCase(), value.trim()]));
  return { headers, body };
}

function plainText({ headers, body }) {
  const type = headers["content-type"] ?? "text/plain";
  const boundary = /boundary="?([^";]+)"?/i.exec(type)?.[1];
  if (boundary) {
    const parts = body.split(`--${boundary}`).slice(1, -1).map((text) => plainText(part(text.replace(/^\r?\n/, ""))));
    return parts.find((text) => text !== null) ?? null;
  }
  return /^text\/plain/i.test(type) ? decoded(body, headers["content-transfer-encoding"] ?? "") : null;
}

/** Returns the headers that a person looks at, and the plain text of an email. */
export function readMessage(source) {
  const message = part(source);
  const { from = "", to = "", subject = "" } = message.headers;
  return { from: words(from), to: words(to), subject: words(subject), text: plainText(message) ?? "" };
}
