"""Each check taken away lets something in that it keeps out: none is there for nothing, and the corpus would notice.

A check that reads something for the later ones cannot just be left out; here it is replaced by a careless one, the kind
of code that people write.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest

from shared.appraisal import certificates
from shared.appraisal.appraise import CHECKS, appraise
from shared.appraisal.case import Case, Question, Refused
from shared.model.reference import configuration
from tests.appraisal import forge
from tests.appraisal.corpus import HOSTILE


def decoded(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text.strip().rstrip(b"=") + b"==")


def size(case: Case) -> str:
    case.encoded = case.token if isinstance(case.token, bytes) else case.token.encode()
    return ""


def form(case: Case) -> str:
    case.parts = case.encoded.split(b".")[:3]
    case.encoded = b".".join(case.parts)
    return ""


def encoding(case: Case) -> str:
    case.encoded_header, case.payload, case.signature = map(decoded, case.parts)
    return ""


def header_json(case: Case) -> str:
    case.header = json.loads(case.encoded_header)
    return ""


def header_fields(case: Case) -> str:
    case.token_type = "PKI" if "x5c" in case.header else "OIDC"
    return ""


def read_certificates(case: Case) -> str:
    first, second, third = case.header["x5c"][:3]
    case.chain = certificates.read((first, second, third))
    return ""


def key_id(case: Case) -> str:
    if case.chain:
        case.public_key = case.chain.certificates[0].key
    else:
        found = str(case.header["kid"]).strip().lower()
        case.public_key = next((key for kid, key in case.keys.by_kid.items() if kid in found), None)
    return ""


def payload_json(case: Case) -> str:
    case.claims = json.loads(case.payload)
    return ""


def layout(case: Case) -> str:
    case.submods = {name: dict(value) for name, value in case.claims["submods"].items()}
    case.space, case.container = case.submods["confidential_space"], case.submods["container"]
    return ""


def times(case: Case) -> str:
    for name in ("iat", "nbf", "exp"):
        case.claims[name] = int(case.claims[name])
    return ""


def image_digest(case: Case) -> str:
    found = "sha256:" + str(case.container["image_digest"]).strip().lower().removeprefix("sha256:")
    case.candidates = [each for each in case.references if found in (each.manifest, each.index, each.config)]
    return ""


def expiry(case: Case) -> str:
    case.reference = case.candidates[0]
    return ""


def own_digest(case: Case) -> str:
    found = configuration(case.reference.config_json, "The configuration") if case.reference else None
    case.env, case.args = (found.env, found.entrypoint + found.cmd) if found else ({}, ())
    return ""


def image_id(case: Case) -> str:
    case.candidates = case.candidates or list(case.references)
    return ""


CARELESS: dict[str, Callable[[Case], str]] = {
    "size": size,
    "form": form,
    "encoding": encoding,
    "header": header_json,
    "header fields": header_fields,
    "certificates": read_certificates,
    "key id": key_id,
    "payload": payload_json,
    "layout": layout,
    "times": times,
    "image digest": image_digest,
    "image id": image_id,
    "reference expiry": expiry,
    "reference digest": own_digest,
}


def without(question: Question) -> Question:
    """`question` as somebody would leave it who has no time for it."""

    def ask(case: Case) -> str:
        if question.name in CARELESS:
            try:
                return CARELESS[question.name](case)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise Refused("", "Even the careless check fails.") from error
        try:
            return question.ask(case)
        except Refused:
            return ""

    return question._replace(ask=ask)


@pytest.mark.parametrize("question", CHECKS, ids=lambda question: question.name)
def test_no_check_is_there_for_nothing(question: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_out = [hostile for hostile in HOSTILE if hostile.check == question.name]
    changed = tuple(without(each) if each is question else each for each in CHECKS)
    forge.asked(monkeypatch, changed)
    let_in = [hostile.name for hostile in kept_out if appraise(*hostile.bad().all()).decision == "accepted"]
    assert let_in, f"without the check {question.name}, none of {len(kept_out)} hostile tokens is let in"
    monkeypatch.undo()
    assert appraise(*forge.good().all()).decision == "accepted"
