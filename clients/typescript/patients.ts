// A client with retries, registrations that can be repeated, pages, and the feed.
import { EventSourceParserStream } from "eventsource-parser/stream";
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
type Patients = Client<paths>;

/** The API answered with a problem. Decide by `problem.type`, whose meaning never changes. */
export class Failed extends Error {
  constructor(readonly problem: Schemas["Problem"] | undefined, status: number) {
    super(problem?.type ?? `status ${status}`);
  }
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Repeats a request if no response arrives, or if the response says when to retry. */
export function retrying(send = (request: Request) => fetch(request), attempts = 6) {
  return async (request: Request): Promise<Response> => {
    for (let attempt = 1; ; attempt++) {
      // Clients that failed at the same time should not retry at the same time.
      let wait = Math.random() * 100 * 2 ** attempt;
      try {
        const response = await send(request.clone());
        const after = response.headers.get("Retry-After");
        const temporary = after !== null || response.status === 502 || response.status === 504;
        if (attempt === attempts || !temporary) return response;
        wait += 1000 * (Number(after) || 0);
        await response.body?.cancel();
      } catch (error) {
        if (attempt === attempts || request.signal.aborted) throw error;
      }
      await pause(wait);
    }
  };
}

export function connect(url: string, token?: string, fetch = retrying()): Patients {
  return createClient<paths>({ baseUrl: url, fetch, headers: token ? { Authorization: `Bearer ${token}` } : {} });
}

/** Returns the patient and the position of the registration. With the same key, a repeated request registers no second patient. */
export async function register(client: Patients, body: Schemas["NewPatient"], key: string = crypto.randomUUID()) {
  const { data, error, response } = await client.POST("/patients", {
    body,
    params: { header: { "Idempotency-Key": key } },
  });
  if (!data) throw new Failed(error, response.status);
  return { patient: data, position: Number(response.headers.get("Event-Position")) };
}

/** Changes a patient, unless somebody else changes the patient at the same time (`/problems/precondition-failed`). */
export async function amend(client: Patients, id: string, body: Schemas["PatientPatch"]) {
  const read = await client.GET("/patients/{id}", { params: { path: { id } } });
  if (!read.data) throw new Failed(read.error, read.response.status);
  const header = { "If-Match": read.response.headers.get("ETag") ?? "", "Idempotency-Key": crypto.randomUUID() };
  const { data, error, response } = await client.PATCH("/patients/{id}", {
    body,
    params: { path: { id }, header },
    headers: { "Content-Type": "application/merge-patch+json" },
  });
  if (!data) throw new Failed(error, response.status);
  return data;
}

/** Yields every active patient. The list contains at least the events up to the position. */
export async function* everyPatient(client: Patients, position = 0, limit = 100) {
  const query: { limit: number; after?: string } = { limit };
  for (;;) {
    const { data, error, response } = await client.GET("/patients", {
      params: { query, header: { "Min-Position": position } },
    });
    if (!data) throw new Failed(error, response.status);
    yield* data;
    const next = /<([^>]*)>; rel="next"/.exec(response.headers.get("Link") ?? "")?.[1];
    if (!next) return;
    query.after = new URL(next, response.url).searchParams.get("after") ?? undefined;
  }
}

/** Erases a patient, and waits until everything is destroyed. A repetition gets the first erasure. */
export async function erase(client: Patients, id: string) {
  const params = { path: { id } };
  let { data, error, response } = await client.POST("/patients/{id}/erasure", { body: { reason: "request" }, params });
  while (data && !data.complete) {
    await pause(1000);
    ({ data, error, response } = await client.GET("/patients/{id}/erasure", { params }));
  }
  if (!data) throw new Failed(error, response.status);
  return data;
}

/** Yields every event after the position, and waits for new events. Keep the position of the last event. */
export async function* follow(client: Patients, after = 0) {
  for (;;) {
    // The service sends at least a comment every 15 s.
    const silent = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const watch = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(new TypeError("the stream is silent")), 45_000);
    };
    const watched = new TransformStream<string, string>({
      transform(chunk, controller) {
        watch();
        controller.enqueue(chunk);
      },
    });
    try {
      watch();
      const { data, error, response } = await client.GET("/events/stream", {
        params: { query: { after } },
        parseAs: "stream",
        signal: silent.signal,
      });
      if (!data) throw new Failed(error, response.status);
      const text = data.pipeThrough(new TextDecoderStream()).pipeThrough(watched);
      for await (const message of text.pipeThrough(new EventSourceParserStream())) {
        const event: Schemas["Event"] = JSON.parse(message.data);
        yield event;
        after = event.position;
      }
    } catch (error) {
      // `fetch` throws a TypeError if the connection fails or is lost.
      if (!(error instanceof TypeError)) throw error;
    } finally {
      clearTimeout(timer);
    }
    await pause(1000);
  }
}
