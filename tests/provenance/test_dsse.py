"""Envelopes: what is signed, what is read, and that another implementation agrees."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from shared.appraisal import dsse
from shared.errors import Permanent
from tests.provenance.makers import envelope, key, keyid, pem, public_pem, sign

PAYLOAD = b'{"_type":"x"}'
KINDS = ("alice", "p256 bob")


def test_pae_is_the_specification_s_own_example() -> None:
    # https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md#test-vectors
    assert (
        dsse.pae(b"hello world", "http://example.com/HelloWorld")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@given(st.binary(max_size=300), st.binary(max_size=300), st.text(max_size=20), st.text(max_size=20))
def test_no_two_payloads_are_signed_as_the_same_bytes(a: bytes, b: bytes, c: str, d: str) -> None:
    assert (dsse.pae(a, c) == dsse.pae(b, d)) == ((a, c) == (b, d))


@given(st.binary(min_size=1, max_size=500))
def test_what_is_written_is_read(payload: bytes) -> None:
    read = dsse.read(envelope(payload, *KINDS))
    assert read.unverified_payload == payload
    assert [keyid for keyid, _ in read.signatures] == [keyid(name) for name in KINDS]


@pytest.mark.parametrize("name", KINDS)
def test_a_signature_holds_for_its_key_and_payload_alone(name: str) -> None:
    public = dsse.public_key(pem(name), "The key")
    (_, signature), *_ = dsse.read(envelope(PAYLOAD, name)).signatures
    assert public.verifies(signature, PAYLOAD)
    assert not public.verifies(signature, PAYLOAD + b" ")
    assert not public.verifies(signature[:-1] + bytes([signature[-1] ^ 1]), PAYLOAD)
    assert not public.verifies(b"", PAYLOAD)
    other = next(each for each in (*KINDS, "carol") if each != name)
    assert not dsse.public_key(pem(other), "The key").verifies(signature, PAYLOAD)
    # Signed without the encoding: a signature over other things can never be taken for one over a statement.
    assert not public.verifies(sign(name, PAYLOAD), PAYLOAD)


@pytest.mark.parametrize("name", KINDS)
def test_another_implementation_verifies_ours(name: str) -> None:
    theirs = OtherEnvelope.from_dict(json.loads(envelope(PAYLOAD, name)))
    known = SSlibKey.from_crypto(key(name).public_key(), keyid=keyid(name))
    assert theirs.pae() == dsse.pae(PAYLOAD)
    assert set(theirs.verify([known], 1)) == {keyid(name)}
    theirs.payload += b" "
    with pytest.raises(VerificationError):
        theirs.verify([known], 1)


@pytest.mark.parametrize("name", KINDS)
def test_ours_verifies_another_implementation_s(name: str) -> None:
    theirs = OtherEnvelope(PAYLOAD, dsse.PAYLOAD_TYPE, {})
    public = SSlibKey.from_crypto(key(name).public_key(), keyid=keyid(name))
    theirs.sign(CryptoSigner(key(name), public))
    read = dsse.read(json.dumps(theirs.to_dict()))
    assert read.unverified_payload == PAYLOAD
    ((found, signature),) = read.signatures
    assert found == keyid(name)
    assert dsse.public_key(pem(name), "The key").verifies(signature, PAYLOAD)


def whole(**changed: Any) -> dict[str, Any]:
    return json.loads(envelope(PAYLOAD, "alice")) | changed


def signed(**changed: Any) -> dict[str, Any]:
    return whole(signatures=[whole()["signatures"][0] | changed])


TEXT = base64.b64encode(PAYLOAD + b"\xfb").decode()
REFUSED = {
    "a field more": (whole(more=1), "no such field"),
    "no payload type": ({k: v for k, v in whole().items() if k != "payloadType"}, "payloadType is missing"),
    "another payload type": (whole(payloadType="application/json"), "payloadType"),
    "the payload type in capitals": (whole(payloadType="application/vnd.in-toto+JSON"), "payloadType"),
    "the payload type with a parameter": (whole(payloadType=dsse.PAYLOAD_TYPE + ";v=1"), "payloadType"),
    "no signatures": (whole(signatures=[]), "signatures"),
    "too many": (
        whole(signatures=[{"keyid": f"sha256:{n:064x}", "sig": "AAAA"} for n in range(9)]),
        "at most 8",
    ),
    "signatures that are no list": (whole(signatures={}), "signatures"),
    "one key twice": (whole(signatures=whole()["signatures"] * 2), "one key id"),
    "a field more in a signature": (signed(cert="x"), "no such field"),
    "no key id": (whole(signatures=[{"sig": "AAAA"}]), "keyid is missing"),
    "a key id of another form": (signed(keyid="alice"), "keyid"),
    "a key id in capitals": (signed(keyid=keyid("alice").upper()), "keyid"),
    "an empty signature": (signed(sig=""), "0 bytes"),
    "a signature too long": (signed(sig=base64.b64encode(bytes(129)).decode()), "129 bytes"),
    "a payload that is no text": (whole(payload=1), "payload"),
    "an empty payload": (whole(payload=""), "0 bytes"),
    "a payload without padding": (whole(payload=TEXT.rstrip("=")), "base64"),
    "a payload in the URL-safe alphabet": (whole(payload="_-__"), "base64"),
    "a payload with a line break": (whole(payload=whole()["payload"] + "\n"), "base64"),
    "a payload with unused bits": (whole(payload="AB=="), "no encoder"),
    "a payload too long": (
        whole(payload=base64.b64encode(bytes(dsse.MAX_PAYLOAD + 1)).decode()),
        "140001 bytes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_read(case: str) -> None:
    content, said = REFUSED[case]
    with pytest.raises(Permanent, match=said):
        dsse.read(json.dumps(content))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid"),
        ("[]", "not valid"),
        ("null", "not valid"),
        ("{" * 5000, "not valid"),
        (envelope(PAYLOAD, "alice") + "x", "not valid"),
        ("\ufeff" + envelope(PAYLOAD, "alice"), "not valid"),
        (envelope(PAYLOAD, "alice").encode("utf-16"), "not valid"),
        (envelope(PAYLOAD, "alice").encode() + b"\xff", "not valid"),
        (envelope(PAYLOAD, "alice")[:-1] + ',"payload":"AAAA"}', "twice"),
        (envelope(PAYLOAD, "alice") + " " * dsse.MAX_ENVELOPE, "at most 200000"),
    ],
)
def test_what_is_no_envelope_at_all(text: str | bytes, said: str) -> None:
    with pytest.raises(Permanent, match=said):
        dsse.read(text)


def test_the_largest_payload_fits_into_the_largest_envelope() -> None:
    names = ("alice", "p256 bob", "carol", "p256 carol")
    assert len(envelope(bytes(dsse.MAX_PAYLOAD), *names)) <= dsse.MAX_ENVELOPE
    assert dsse.read(envelope(bytes(dsse.MAX_PAYLOAD), *names)).signatures


def test_only_two_kinds_of_key_count() -> None:
    foreign = {
        "RSA": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "P-384": ec.generate_private_key(ec.SECP384R1()),
        "secp256k1": ec.generate_private_key(ec.SECP256K1()),
        "Ed448": ed448.Ed448PrivateKey.generate(),
    }
    for private in foreign.values():
        with pytest.raises(Permanent, match="neither an Ed25519 key nor an ECDSA key on P-256"):
            dsse.public_key(public_pem(private.public_key()), "The key")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        pem("alice") + pem("carol"),
        pem("alice").replace("PUBLIC", "PRIVATE"),
        "# a comment\n" + pem("alice"),
        pem("alice").replace("M", "!"),
        pem("alice") + "x" * 3000,
    ],
)
def test_what_is_no_public_key(text: str) -> None:
    with pytest.raises(Permanent, match="The key "):
        dsse.public_key(text, "The key")


def test_the_key_id_is_the_sha256_of_the_der_encoding() -> None:
    import hashlib

    der = base64.b64decode("".join(pem("alice").splitlines()[1:-1]))
    assert dsse.public_key(pem("alice"), "The key").keyid == "sha256:" + hashlib.sha256(der).hexdigest()
