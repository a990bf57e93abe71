"""Runs patients.py against the server at PATIENTS_URL, with the tokens CLERK_TOKEN, AUDITOR_TOKEN and PRIVACY_TOKEN, if set."""

import os
import time
import uuid
from collections.abc import Iterator

import httpx
from patients import Failed, Retrying, amend, connect, erase, every_patient, follow, register
from patients_api.api.patients import get_patients_id
from patients_api.models import NewPatient, PatientPatch


class LosesResponses(httpx.BaseTransport):
    """Loses the first response, after the service has processed the request."""

    def __init__(self) -> None:
        self.inner, self.requests = httpx.HTTPTransport(), 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self.inner.handle_request(request)
        self.requests += 1
        if self.requests == 1:
            response.close()
            raise httpx.ReadError("the response is lost", request=request)
        return response


class IsBusy(httpx.BaseTransport):
    """Answers the first request with a status and `Retry-After`."""

    def __init__(self, status: int) -> None:
        self.inner, self.status, self.times = httpx.HTTPTransport(), status, []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.times.append(time.monotonic())
        if len(self.times) == 1:
            return httpx.Response(self.status, headers={"Retry-After": "1"}, request=request)
        return self.inner.handle_request(request)


class CutsStream(httpx.BaseTransport):
    """Cuts the first stream after its first event."""

    def __init__(self) -> None:
        self.inner, self.streams = httpx.HTTPTransport(), 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self.inner.handle_request(request)
        self.streams += 1
        if self.streams > 1:
            return response
        return httpx.Response(response.status_code, headers=response.headers, stream=Cut(response.stream))


class Cut(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream) -> None:
        self.inner = inner

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.inner:
            event, end, _ = chunk.partition(b"\n\n")
            yield event + end
            if end:
                raise httpx.ReadError("the connection is lost")

    def close(self) -> None:
        self.inner.close()


def someone(name: str) -> NewPatient:
    email = f"{uuid.uuid4()}@example.com"
    return NewPatient(name=name, email=email, phone="+1234567890", document_url="https://example.com/a.jpg")


def refused(kind: str, action) -> None:
    try:
        action()
    except Failed as failed:
        assert failed.problem and failed.problem.type_ == f"/problems/{kind}", failed
    else:
        raise AssertionError(f"not refused: {kind}")


def main() -> None:
    url = os.environ["PATIENTS_URL"]
    clerk, auditor, privacy = (
        connect(url, os.environ.get(f"{role}_TOKEN", "")) for role in ("CLERK", "AUDITOR", "PRIVACY")
    )
    if os.environ.get("CLERK_TOKEN"):
        refused("unauthorized", lambda: register(connect(url), someone("Ana")))
        refused("forbidden", lambda: register(auditor, someone("Ana")))

    lossy = LosesResponses()
    first, start = register(connect(url, os.environ.get("CLERK_TOKEN", ""), Retrying(lossy)), someone("Ana García"))
    assert lossy.requests == 2
    for status in (429, 503):
        busy = IsBusy(status)
        register(connect(url, os.environ.get("CLERK_TOKEN", ""), Retrying(busy)), someone("Ana García"))
        assert len(busy.times) == 2 and busy.times[1] - busy.times[0] >= 1, busy.times
    patients = [first] + [register(clerk, someone(f"Patient {number}"))[0] for number in range(4)]
    refused("invalid-request", lambda: register(clerk, someone("")))

    amended = amend(clerk, first.id, PatientPatch(name="Ana Gómez"))
    assert (amended.name, amended.email) == ("Ana Gómez", first.email)
    assert get_patients_id.sync(first.id, client=clerk).name == "Ana Gómez"

    _, position = register(clerk, someone("The last"))
    listed = [patient.id for patient in every_patient(clerk, position, limit=2)]
    assert len(listed) == len(set(listed)) and {patient.id for patient in patients} <= set(listed)

    erasure = erase(privacy, first.id)
    assert erasure.complete and erasure.scope == "full"
    refused("patient-erased", lambda: amend(clerk, first.id, PatientPatch(name="Nobody")))

    seen, cutting = [], CutsStream()
    for event in follow(connect(url, os.environ.get("AUDITOR_TOKEN", ""), cutting), start - 1):
        seen.append(event)
        if event.event_type == "PatientErased":
            break
    assert cutting.streams == 2
    assert [event.position for event in seen] == list(range(start, erasure.position + 1))
    of_first = [event.event_type for event in seen if event.aggregate_id == first.id]
    assert of_first == ["PatientRegistered", "PatientAmended", "PatientDeleted", "PatientErased"], of_first
    print("Python: registered, read, amended, listed, erased and followed")


if __name__ == "__main__":
    main()
