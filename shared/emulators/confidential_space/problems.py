"""Errors as the Compute Engine API answers them.

https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-api-errors: the JSON object `error` with code,
message, and a list `errors` whose entries carry a reason.
"""

import json
from dataclasses import dataclass

from shared.emulators.registry.problems import Problem


@dataclass
class ComputeProblem(Problem):
    reason: str = "invalid"

    def body(self) -> tuple[str, bytes]:
        entry = {"message": self.message, "domain": "global", "reason": self.reason}
        error = {"code": self.code, "message": self.message, "errors": [entry], "status": self.status}
        return "application/json; charset=UTF-8", json.dumps({"error": error}, indent=2).encode()


def invalid(message: str) -> ComputeProblem:
    return ComputeProblem(400, message)


def not_found(resource: str) -> ComputeProblem:
    return ComputeProblem(404, f"The resource '{resource}' was not found", reason="notFound")


def exists(resource: str) -> ComputeProblem:
    return ComputeProblem(409, f"The resource '{resource}' already exists", reason="alreadyExists")


def forbidden(permission: str, resource: str) -> ComputeProblem:
    return ComputeProblem(403, f"Required '{permission}' permission for '{resource}'", reason="forbidden")


def unauthenticated(why: str) -> ComputeProblem:
    return ComputeProblem(
        401,
        f"Request had invalid authentication credentials. {why}",
        headers={"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'},
        reason="authError",
    )
