"""Whatever comes in: an answer, never an exception, and never an acceptance of anything but the very token."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.appraisal import strict_json
from shared.appraisal.appraise import DEFECT, appraise
from shared.appraisal.encoding import from_base64, from_base64url, to_base64url
from shared.appraisal.keys import TrustedKeys, read_jwks
from shared.appraisal.token import peek
from shared.errors import Permanent
from tests.appraisal import forge
from tests.appraisal.forge import Inputs

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
TOKENS = {"OIDC": forge.oidc(), "PKI": forge.pki()}
URL_SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+/= \n"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
many = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def refused(inputs: Inputs) -> None:
    result = appraise(*inputs.all())
    assert result.decision == "refused"
    sound(inputs)


def sound(inputs: Inputs) -> None:
    result = appraise(*inputs.all())
    assert DEFECT not in [check.sentence for check in result.checks], result.failed
    assert all(check.input.isprintable() and check.sentence.isprintable() for check in result.checks)
    result.summary_bytes()


@many
@given(st.binary(max_size=300) | st.text(max_size=300) | st.text(URL_SAFE, max_size=300))
def test_anything(token: str | bytes) -> None:
    refused(forge.good(token))
    peek(token)


@many
@given(
    st.sampled_from(sorted(TOKENS)),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(["replace", "insert", "delete", "cut", "double"]),
    st.sampled_from(URL_SAFE),
)
def test_a_token_with_a_character_changed(kind: str, place: float, change: str, character: str) -> None:
    token = TOKENS[kind]
    at = int(place * len(token))
    end = {"replace": at + 1, "insert": at, "delete": at + 1, "cut": len(token), "double": at}[change]
    middle = {"replace": character, "insert": character, "double": token[at : at + 40]}.get(change, "")
    mutated = token[:at] + middle + token[end:]
    if mutated != token:
        refused(forge.good(mutated))
    else:
        assert appraise(*forge.good(mutated).all()).decision == "accepted"


@many
@given(st.binary(max_size=400), st.binary(max_size=400))
def test_signed_parts_that_are_anything(header: bytes, payload: bytes) -> None:
    refused(forge.good(forge.oidc(payload, header)))
    refused(forge.good(forge.oidc(payload)))


@many
@given(st.dictionaries(st.sampled_from(["alg", "typ", "kid", "x5c", "crit"]), JSON))
def test_headers_that_are_anything(fields: dict[str, Any]) -> None:
    refused(forge.good(forge.oidc(header=json.dumps({**forge.oidc_header(), "typ": 0, **fields}).encode())))
    sound(forge.good(forge.oidc(header=json.dumps({**forge.oidc_header(), **fields}).encode())))
    sound(forge.good(forge.pki(header={**forge.pki_header(), **fields})))


def paths(value: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [at]
    inner = [path for name, each in value.items() for path in paths(each, (*at, name))]
    return [*([at] if at else []), *inner]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(paths(forge.CLAIMS)), JSON)
def test_a_claim_that_is_anything(path: tuple[str, ...], value: Any) -> None:
    content = forge.claims()
    place = content
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    inputs = forge.good(forge.oidc(json.dumps(content).encode()))
    sound(inputs)
    unchecked = {"sub", "eat_profile", "attester_tcb", "image_reference", "restart_policy", "instance_id"}
    unchecked |= {"gcp_attester_tcb_date", "image_signatures", "signature", "nbf", "env_override"}
    if appraise(*inputs.all()).decision == "accepted" and not unchecked & set(path):
        assert place == forge.CLAIMS or value == _original(path), path


def _original(path: tuple[str, ...]) -> Any:
    found: Any = forge.CLAIMS
    for name in path:
        found = found[name]
    return found


@many
@given(st.integers(0, 2), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_certificate_with_a_byte_changed(number: int, place: float, bits: int) -> None:
    x5c = list(forge.good_chain())
    der = bytearray(base64.b64decode(x5c[number]))
    der[int(place * len(der))] ^= bits
    x5c[number] = base64.b64encode(der).decode()
    header = {**forge.pki_header(), "x5c": x5c}
    refused(forge.good(forge.pki(header=header)))
    pinned = TrustedKeys(roots=(forge.pin(x5c),))
    sound(forge.good(forge.pki(header=header), keys=pinned))
    if number < 2:
        refused(forge.good(forge.pki(header=header), keys=pinned))


@many
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_strict_json_reads_what_json_reads_or_refuses(data: bytes) -> None:
    try:
        found = strict_json.parse(data)
    except strict_json.BadJson:
        return
    assert found == json.loads(data)


@many
@given(JSON, st.booleans())
def test_what_is_read_at_once_is_read_slowly_too(value: Any, compact: bool) -> None:
    """The short cut takes nothing that the long way refuses, and reads the same."""
    separators = (",", ":") if compact else None
    for text in (
        json.dumps({"x": value}, separators=separators),
        json.dumps({"x": [value]}, ensure_ascii=False),
    ):
        data = text.encode(errors="surrogatepass")
        found = strict_json.at_once(data)
        if found is not None:
            assert strict_json.slowly(data) == found


NUMBERS = [
    "9007199254740991",
    "9007199254740992",
    "-9007199254740992",
    "1e16",
    "1e+16",
    "1e300",
    "1e+300",
    "1e400",
    "-0",
]
TEXTS = [
    *(f'{{"a":{number}}}' for number in NUMBERS),
    *('{"a":' + "[" * depth + "]" * depth + "}" for depth in (*range(245, 260), 1000, 1100)),
    *('{"a":' * depth + "1" + "}" * depth for depth in (*range(245, 260), 1000, 1100)),
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":1}',
    '{"a":"\\u003c"}',
    '{"a":"\x7f"}',
    '{"a" :1}',
    '{"a":1} ',
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:40])
def test_the_short_cut_at_the_edges(text: str) -> None:
    found = strict_json.at_once(text.encode())
    if found is not None:
        assert strict_json.slowly(text.encode()) == found


SAFE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**53, 2**53 - 1)
    | st.text(max_size=20).filter(str.isprintable),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@many
@given(st.dictionaries(st.text(max_size=8), SAFE, max_size=5))
def test_strict_json_reads_what_others_write(value: dict[str, Any]) -> None:
    assert strict_json.parse(json.dumps(value).encode()) == value
    assert strict_json.parse(json.dumps(value, ensure_ascii=False).encode()) == value


@many
@given(st.binary(max_size=80))
def test_base64_has_one_spelling(data: bytes) -> None:
    assert from_base64url(to_base64url(data)) == data
    for text in (data, base64.b64encode(data), base64.urlsafe_b64encode(data)):
        found = from_base64url(text)
        assert found is None or to_base64url(found) == text
    text = base64.b64encode(data).decode()
    assert from_base64(text) == data
    assert not text.endswith("=") or from_base64(text.rstrip("=")) is None


@many
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps({"keys": [value]}).encode()))
def test_a_key_set_that_is_anything(data: bytes) -> None:
    try:
        read_jwks(data, "The key set")
    except Permanent as error:
        assert str(error).startswith(("The key set", "Key 1 of the key set"))  # noqa: PT017 - both ways are good
    else:
        raise AssertionError("a key set of no keys was read")
