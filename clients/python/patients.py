"""A client with retries, registrations that can be repeated, pages, and the feed."""

import random
import re
import time
import uuid
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
from httpx_sse import connect_sse
from patients_api import AuthenticatedClient, Client
from patients_api.api.patients import (
    get_patients,
    get_patients_id,
    get_patients_id_erasure,
    patch_patients_id,
    post_patients,
    post_patients_id_erasure,
)
from patients_api.models import Erasure, Event, ListedPatient, NewErasure, NewPatient, Patient, PatientPatch, Problem
from patients_api.types import Response


class Failed(Exception):
    """The API answered with a problem. Decide by `problem.type_`, whose meaning never changes."""

    def __init__(self, response: Response) -> None:
        self.problem = response.parsed if isinstance(response.parsed, Problem) else None
        super().__init__(self.problem.type_ if self.problem else f"status {response.status_code}")


class Retrying(httpx.BaseTransport):
    """Repeats a request if no response arrives, or if the response says when to retry."""

    def __init__(self, inner: httpx.BaseTransport | None = None, attempts: int = 6) -> None:
        self.inner = inner or httpx.HTTPTransport()
        self.attempts = attempts

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        attempt = 1
        while True:
            # Clients that failed at the same time should not retry at the same time.
            pause = random.uniform(0, 0.1 * 2**attempt)
            try:
                response = self.inner.handle_request(request)
            except httpx.TransportError:
                if attempt == self.attempts:
                    raise
            else:
                retry = response.headers.get("retry-after", "")
                if attempt == self.attempts or not (retry or response.status_code in (502, 504)):
                    return response
                pause += int(retry) if retry.isdigit() else 0
                response.close()
            time.sleep(pause)
            attempt += 1

    def close(self) -> None:
        self.inner.close()


def connect(url: str, token: str = "", transport: httpx.BaseTransport | None = None) -> Client | AuthenticatedClient:
    arguments = {"base_url": url, "timeout": httpx.Timeout(30), "httpx_args": {"transport": transport or Retrying()}}
    return AuthenticatedClient(token=token, **arguments) if token else Client(**arguments)


def register(client: Client, patient: NewPatient, key: str | None = None) -> tuple[Patient, int]:
    """Returns the patient and the position of the registration. With the same key, a repeated request registers no second patient."""
    response = post_patients.sync_detailed(client=client, body=patient, idempotency_key=key or str(uuid.uuid4()))
    if not isinstance(response.parsed, Patient):
        raise Failed(response)
    return response.parsed, int(response.headers["event-position"])


def amend(client: Client, id: uuid.UUID, change: PatientPatch) -> Patient:
    """Changes a patient, unless somebody else changes the patient at the same time (`/problems/precondition-failed`)."""
    read = get_patients_id.sync_detailed(id, client=client)
    if read.status_code != 200:
        raise Failed(read)
    response = patch_patients_id.sync_detailed(
        id, client=client, body=change, if_match=read.headers["etag"], idempotency_key=str(uuid.uuid4())
    )
    if not isinstance(response.parsed, Patient):
        raise Failed(response)
    return response.parsed


def every_patient(client: Client, position: int = 0, limit: int = 100) -> Iterator[ListedPatient]:
    """Yields every active patient. The list contains at least the events up to the position."""
    page = {"limit": limit, "min_position": position}
    while True:
        response = get_patients.sync_detailed(client=client, **page)
        if not isinstance(response.parsed, list):
            raise Failed(response)
        yield from response.parsed
        link = re.search(r'<([^>]*)>; rel="next"', response.headers.get("link", ""))
        if not link:
            return
        page["after"] = uuid.UUID(parse_qs(urlsplit(link[1]).query)["after"][0])


def erase(client: Client, id: uuid.UUID) -> Erasure:
    """Erases a patient, and waits until everything is destroyed. A repetition gets the first erasure."""
    response = post_patients_id_erasure.sync_detailed(id, client=client, body=NewErasure(reason="request"))
    while isinstance(response.parsed, Erasure) and not response.parsed.complete:
        time.sleep(1)
        response = get_patients_id_erasure.sync_detailed(id, client=client)
    if not isinstance(response.parsed, Erasure):
        raise Failed(response)
    return response.parsed


def follow(client: Client, after: int = 0) -> Iterator[Event]:
    """Yields every event after the position, and waits for new events. Keep the position of the last event."""
    while True:
        try:
            # The service sends at least a comment every 15 s.
            with connect_sse(
                client.get_httpx_client(), "GET", "/events/stream", params={"after": after}, timeout=45
            ) as stream:
                stream.response.raise_for_status()
                for message in stream.iter_sse():
                    event = Event.from_dict(message.json())
                    yield event
                    after = event.position
        except httpx.TransportError:
            pass
        time.sleep(1)
