// Reading an email (RFC 5322 and MIME), enough for the emails of this service.

function decoded(body, encoding) {
  let bytes;
  if (/base64/i.test(encoding)) bytes = Uint8Array.from(atob(body.replace(/\s/g, "")), (character) => character.charCodeAt(0));
  else if (/quoted-printable/i.test(encoding)) {
    const plain = body.replace(/=\r?\n/g, "").replace(/=([0-9A-F]{2})/g, (_, digits) => String.fromCharCode(parseInt(digits, 16)));
    bytes = Uint8Array.from(plain, (character) => character.charCodeAt(0));
  } else return body;
  return new TextDecoder().decode(bytes);
}

/** Decodes the encoded words of a header (RFC 2047). */
const words = (text) =>
  text
    .replace(/\?=\s+=\?/g, "?==?")
    .replace(/=\?utf-8\?([bq])\?(.*?)\?=/gi, (_, kind, word) => decoded(kind.toLowerCase() === "b" ? word : word.replace(/_/g, " "), kind.toLowerCase() === "b" ? "base64" : "quoted-printable"));

function part(text) {
  const [, head, body = ""] = /^([\s\S]*?)\r?\n\r?\n([\s\S]*)$/.exec(text) ?? [null, text];
  const lines = head.replace(/\r?\n[ \t]+/g, " ").split(/\r?\n/);
  const headers = Object.fromEntries(lines.filter((line) => line.includes(":")).map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
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
