"""Load test of the patient registration API.

Each user registers patients and reads, lists, amends and deletes them, and checks the status and the body of every
response. A failed check counts as a failed request. No patient data is printed or included in a failure message:
messages contain only statuses and field names.

Settings, from the environment: LOADTEST_HOST (or --host), LOADTEST_WAIT_MIN and LOADTEST_WAIT_MAX (seconds between two
tasks of one user), PATIENTS_TOKEN (sent as a bearer token, if set).
"""

import os
import random
import unicodedata
import uuid
from collections import deque
from typing import NamedTuple

from faker import Faker
from locust import FastHttpUser, between, events, task
from locust.runners import WorkerRunner

LIST_LIMIT = 100
PATIENTS_KEPT_PER_USER = 1000

# Names and digits in several scripts, to test the whole path with them.
fake = Faker(["es_ES", "en_US", "bn_BD", "fa_IR", "hi_IN", "ja_JP", "th_TH"])
EMAIL_DOMAINS = ["example.com", "clínica.example", "उदाहरण.example"]


class Answer(NamedTuple):
    """An expected response."""

    body: object
    # Empty if the header is missing.
    etag: str


class PatientLoadTest(FastHttpUser):
    """A clerk at a registration desk, with a pause between two tasks."""

    # FastHttpUser uses a fraction of HttpUser's CPU time, so the results reflect the API and not Locust.

    host = os.environ.get("LOADTEST_HOST", "http://127.0.0.1:8000")
    wait_time = between(
        float(os.environ.get("LOADTEST_WAIT_MIN", "3")),
        float(os.environ.get("LOADTEST_WAIT_MAX", "5")),
    )
    # Certificates are verified, so a token goes only to the named host.
    insecure = False

    def on_start(self):
        # Each user keeps its own patients, so that no other user deletes a patient who is about to be read.
        self.patients = deque(maxlen=PATIENTS_KEPT_PER_USER)

    @task(5)
    def create_patient(self):
        registration = new_registration()
        created = self.ask(
            "POST",
            "/patients/register",
            status=201,
            check=lambda body: missing_id(body) or difference(body, registration),
            json=registration,
        )
        if created and self.read(created.body):
            self.patients.append(created.body)

    @task(4)
    def read_patient(self):
        if self.has_patients():
            self.read(random.choice(self.patients))

    @task(1)
    def list_patients(self):
        self.ask("GET", f"/getPatients?limit={LIST_LIMIT}", name="/getPatients", status=200, check=wrong_list)

    @task(1)
    def amend_patient(self):
        if not self.has_patients():
            return
        # The patient is kept only if every response is the expected one. Otherwise, its state may be unknown.
        patient = self.patients.popleft()
        current = self.read(patient)
        if not current:
            return
        registration = new_registration()
        changes = {field: registration[field] for field in ("email", "phone")}
        amended = patient | changes
        if not self.amend(patient, changes, current.etag, status=200, check=lambda body: difference(body, amended)):
            return
        # The amendment has changed the ETag, so a late copy of the request is rejected.
        stale = self.amend(patient, changes, current.etag, name="/patients/[id] (stale)", status=412)
        if stale and self.read(amended):
            self.patients.append(amended)

    @task(1)
    def delete_patient(self):
        if not self.has_patients():
            return
        path = f"/patients/{self.patients.popleft()['id']}"
        if self.ask("DELETE", path, name="/patients/[id]", status=204):
            self.ask("GET", path, name="/patients/[id] (deleted)", status=410)

    def has_patients(self):
        """Returns whether there is a patient to work on. Registers a patient if there is none."""
        if not self.patients:
            self.create_patient()
        return bool(self.patients)

    def read(self, patient):
        """Reads a patient back. Returns the response if it equals the expected patient, otherwise None."""
        return self.ask(
            "GET",
            f"/patients/{patient['id']}",
            name="/patients/[id]",
            status=200,
            check=lambda body: difference(body, patient),
        )

    def amend(self, patient, changes, etag, *, status, name="/patients/[id]", check=None):
        """Changes details of a patient whose current ETag is `etag`."""
        return self.ask(
            "PATCH",
            f"/patients/{patient['id']}",
            name=name,
            status=status,
            check=check,
            json=changes,
            headers={"Content-Type": "application/merge-patch+json", "If-Match": etag},
        )

    def ask(self, method, path, *, status, name=None, check=None, json=None, headers=None):
        """Sends one request and records whether the response is the expected one.

        `check` takes the parsed body and returns a failure message, or None. Returns the response (with an empty
        body without `check`), or None after a failure.
        """
        headers = authorization() | (headers or {})
        with self.client.request(
            method, path, name=name or path, json=json, headers=headers, catch_response=True
        ) as response:
            if response.status_code == 0:
                # Without the error's text, which can contain a different port each time and would defeat grouping.
                response.failure(f"no response: {type(response.error).__name__}")
                return None
            if response.status_code != status:
                response.failure(f"status {response.status_code}, expected {status}")
                return None
            body = {}
            if check is not None:
                try:
                    body = response.json()
                except (TypeError, ValueError):
                    response.failure("body is not JSON")
                    return None
                if wrong := check(body):
                    response.failure(wrong)
                    return None
            response.success()
            return Answer(body, response.headers.get("ETag", ""))


def authorization():
    """Returns a new dictionary for each request, because Locust adds its own headers to it."""
    token = os.environ.get("PATIENTS_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def new_registration():
    return {
        "name": as_kept(fake.name()),
        # Unique across all users, worker processes and runs, unlike fake.unique. These domains receive no mail.
        "email": f"load-{uuid.uuid4().hex}@{random.choice(EMAIL_DOMAINS)}",
        "phone": as_kept(fake.phone_number()),
        "document_url": fake.url(),
    }


def as_kept(value):
    """Returns a value in the form in which the service returns it."""
    return unicodedata.normalize("NFC", value).strip()


def missing_id(body):
    if not isinstance(body, dict):
        return "body is not an object"
    return None if isinstance(body.get("id"), str) and body["id"] else "body has no id"


def difference(body, wanted):
    """Returns a message with the names of the fields in which `body` differs from `wanted`, without their values."""
    if not isinstance(body, dict):
        return "body is not an object"
    fields = [field for field in wanted if body.get(field) != wanted[field]]
    return f"body differs in {', '.join(fields)}" if fields else None


def wrong_list(body):
    if not isinstance(body, list):
        return "body is not an array"
    if len(body) > LIST_LIMIT:
        return f"more than {LIST_LIMIT} patients"
    if any(not isinstance(patient, dict) or set(patient) != {"id", "name", "email"} for patient in body):
        return "a listed patient has other fields than id, name and email"
    return None


@events.quitting.add_listener
def fail_empty_run(environment, **_kwargs):
    """Fails a run without any request, which has tested nothing."""
    # A worker sends its statistics to the master and keeps none.
    if not isinstance(environment.runner, WorkerRunner) and environment.stats.total.num_requests == 0:
        environment.process_exit_code = 1
