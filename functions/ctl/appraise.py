"""`./dmz appraise`: a Confidential Space token against a policy, here and now, with every check in the answer."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import datetime
from pathlib import Path

from shared.appraisal import appraise as judging
from shared.appraisal import keys as trust
from shared.appraisal import policy, token
from shared.errors import Permanent
from shared.model.appraisal import AppraisalResult
from shared.model.reference import ReferenceValue
from shared.model.value import printable

ACCEPTED, REFUSED, UNUSABLE = 0, 1, 2
_MAX_FILE = 1024 * 1024


def appraise(arguments: argparse.Namespace) -> int:
    """Appraise; 0 accepted, 1 refused, 2 unusable input."""
    try:
        result = _result(arguments)
    except Permanent as error:
        print(f"dmz: {error}", file=sys.stderr)
        return UNUSABLE
    answer = {**result.model_dump(mode="json"), "summary": result.summary()}
    print(json.dumps(answer, indent=2, ensure_ascii=True))
    return ACCEPTED if result.decision == "accepted" else REFUSED


def _result(arguments: argparse.Namespace) -> AppraisalResult:
    held_to = policy.find(arguments.policy)
    text = _token(arguments.token)
    kind, _ = token.peek(text)
    if kind == "OIDC" and arguments.jwks is None:
        raise Permanent(
            "This is an OIDC token, whose keys change: give the issuer's key set with --jwks "
            f"(curl -s '{trust.JWKS_URL}' > jwks.json)."
        )
    keys = trust.google()
    if arguments.jwks:
        keys = trust.read_jwks(read_file(arguments.jwks), f"The key set {_shown(arguments.jwks)}")
    elif arguments.root:
        keys = trust.read_root(read_file(arguments.root), f"The root certificate {_shown(arguments.root)}")
    references = [value for path in arguments.reference for value in read_references(path)]
    return judging.appraise(text, held_to, keys, references, arguments.nonce, read_time(arguments.at))


def _token(name: str) -> bytes:
    """The token without the line end that a file or a shell puts behind it, and nothing else taken away."""
    data = sys.stdin.buffer.read(_MAX_FILE) if name == "-" else read_file(Path(name))
    if not data.strip():
        raise Permanent(
            "The token is empty: give a file that holds one, or - and the token on standard input."
        )
    return data.removesuffix(b"\n").removesuffix(b"\r")


def read_references(path: Path) -> list[ReferenceValue]:
    data, what = read_file(path), f"The reference value {_shown(path)}"
    if not data.lstrip().startswith(b"["):
        return [ReferenceValue.read(data, what)]
    try:
        listed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Permanent(f"{what} is not JSON.") from error
    if not listed:
        raise Permanent(f"{what} is an empty list: give at least one, or leave --reference out.")
    return [ReferenceValue.check(each, f"{what}, entry {number}") for number, each in enumerate(listed, 1)]


def read_time(text: str) -> float:
    """RFC 3339, section 5.6: a date-time has an offset."""
    if not text:
        return time.time()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if (
        found is None
        or found.tzinfo is None
        or len(text) < len("2025-09-05T09:00:00Z")
        or text[10] not in "Tt "
    ):
        raise Permanent(
            f"--at {printable(text, 60)} is no RFC 3339 time; give one like 2025-09-05T09:00:00Z."
        )
    if found.timestamp() < 0:
        raise Permanent(f"--at {printable(text, 60)} lies before 1970.")
    return found.timestamp()


def read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        words = error.strerror if isinstance(error, OSError) else str(error)
        raise Permanent(f"The file {_shown(path)} cannot be read: {words}.") from error
    if len(data) > _MAX_FILE:
        raise Permanent(f"The file {_shown(path)} is too large: at most {_MAX_FILE} bytes are read.")
    return data


def _shown(path: Path) -> str:
    return printable(str(path), 300)
