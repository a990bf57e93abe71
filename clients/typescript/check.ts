// Runs patients.ts against the server at PATIENTS_URL, with the tokens CLERK_TOKEN, AUDITOR_TOKEN and PRIVACY_TOKEN, if set.
import assert from "node:assert/strict";
import { amend, connect, erase, everyPatient, Failed, follow, register, retrying } from "./patients.js";

const { PATIENTS_URL: url = "", CLERK_TOKEN, AUDITOR_TOKEN, PRIVACY_TOKEN } = process.env;
const [clerk, auditor, privacy] = [connect(url, CLERK_TOKEN), connect(url, AUDITOR_TOKEN), connect(url, PRIVACY_TOKEN)];

const someone = (name: string) => ({
  name,
  email: `${crypto.randomUUID()}@example.com`,
  phone: "+1234567890",
  document_url: "https://example.com/a.jpg",
});
const refused = (kind: string, action: Promise<unknown>) =>
  assert.rejects(action, (error) => error instanceof Failed && error.problem?.type === `/problems/${kind}`);

if (CLERK_TOKEN) {
  await refused("unauthorized", register(connect(url), someone("Ana")));
  await refused("forbidden", register(auditor, someone("Ana")));
}

// The first response is lost, after the service has processed the request.
let requests = 0;
const lossy = async (request: Request) => {
  const response = await fetch(request);
  if (++requests === 1) throw new TypeError("the response is lost");
  return response;
};
const { patient: first, position: start } = await register(
  connect(url, CLERK_TOKEN, retrying(lossy)),
  someone("Ana García"),
);
assert.equal(requests, 2);
// The first request is answered with a status and Retry-After.
for (const status of [429, 503]) {
  const times: number[] = [];
  const busy = async (request: Request) => {
    const first = times.push(performance.now()) === 1;
    return first ? new Response(null, { status, headers: { "Retry-After": "1" } }) : fetch(request);
  };
  await register(connect(url, CLERK_TOKEN, retrying(busy)), someone("Ana García"));
  assert.equal(times.length, 2);
  // A timer may end up to 1 ms early.
  assert.ok(times[1]! - times[0]! >= 999, `waited ${times[1]! - times[0]!} ms`);
}
const ids = [first.id];
for (let number = 0; number < 4; number++) ids.push((await register(clerk, someone(`Patient ${number}`))).patient.id);
await refused("invalid-request", register(clerk, someone("")));

const amended = await amend(clerk, first.id, { name: "Ana Gómez" });
assert.deepEqual([amended.name, amended.email], ["Ana Gómez", first.email]);
const read = await clerk.GET("/patients/{id}", { params: { path: { id: first.id } } });
assert.equal(read.data && "name" in read.data && read.data.name, "Ana Gómez");

const { position } = await register(clerk, someone("The last"));
const listed: string[] = [];
for await (const patient of everyPatient(clerk, position, 2)) listed.push(patient.id);
assert.equal(new Set(listed).size, listed.length);
assert.ok(ids.every((id) => listed.includes(id)));

const erasure = await erase(privacy, first.id);
assert.deepEqual([erasure.complete, erasure.scope], [true, "full"]);
await refused("patient-erased", amend(clerk, first.id, { name: "Nobody" }));

// The first stream is cut after its first event.
let streams = 0;
const cutting = async (request: Request) => {
  const response = await fetch(request);
  if (!request.url.includes("/events/stream") || ++streams > 1) return response;
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("\n\n")) text += (await reader.read()).value ?? "";
  await reader.cancel();
  const chunks = [text.slice(0, text.indexOf("\n\n") + 2)];
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const chunk = chunks.pop();
      if (chunk) return controller.enqueue(new TextEncoder().encode(chunk));
      await new Promise((resolve) => setTimeout(resolve, 100));
      controller.error(new TypeError("the connection is lost"));
    },
  });
  return new Response(body, response);
};
const seen = [];
for await (const event of follow(connect(url, AUDITOR_TOKEN, cutting), start - 1)) {
  seen.push(event);
  if (event.event_type === "PatientErased") break;
}
assert.equal(streams, 2);
assert.deepEqual(
  seen.map((event) => event.position),
  Array.from({ length: erasure.position - start + 1 }, (_, index) => start + index),
);
assert.deepEqual(
  seen.filter((event) => event.aggregate_id === first.id).map((event) => event.event_type),
  ["PatientRegistered", "PatientAmended", "PatientDeleted", "PatientErased"],
);
console.log("TypeScript: registered, read, amended, listed, erased and followed");
