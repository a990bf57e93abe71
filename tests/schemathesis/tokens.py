"""Sends the access token of a role that may use the operation. The environment contains one token for each role."""

import os

import schemathesis


def sends(role):
    class Bearer:
        def get(self, case, context):
            return os.environ[f"{role}_TOKEN"]

        def set(self, case, token, context):
            case.headers["Authorization"] = f"Bearer {token}"

    return Bearer


for role, tag in (("CLERK", "patients"), ("AUDITOR", "audit"), ("OPERATOR", "operations")):
    schemathesis.auth(refresh_interval=None).apply_to(tag=tag)(sends(role))
