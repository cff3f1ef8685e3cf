"""Key sets and roots: read exactly as Google publishes them, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from shared.appraisal.keys import MAX_JWKS, TrustedKeys, google, read_jwks, read_root, thumbprint
from shared.errors import Permanent
from tests.appraisal import forge

DATA = Path(__file__).parent / "data"
REAL = (DATA / "google-jwks-2025-12-02.json").read_bytes()


def key_set() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(REAL)
    return found


def test_googles_key_set() -> None:
    keys = read_jwks(REAL, "The key set")
    assert sorted(keys.by_kid) == [
        "d6d5071ab75246a42acfa46d29316311cdab51f7",
        "f86c2ed71ca6b8af769c54f6c472ca30fd38055c",
    ]
    assert {key.key_size for key in keys.by_kid.values()} == {2048}
    assert keys.roots == ()


def field(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    def change(content: dict[str, Any]) -> None:
        if value is None:
            del content["keys"][0][name]
        else:
            content["keys"][0][name] = value

    return change


def short() -> str:
    return forge.url64(forge.key("short", 1024).public_key().public_numbers().n.to_bytes(128))


MODULUS = json.loads(REAL)["keys"][0]["n"]
WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "kty EC": (field("kty", "EC"), "wrong 'kty': RSA is taken"),
    "kty in small letters": (field("kty", "rsa"), "wrong 'kty'"),
    "use enc": (field("use", "enc"), "wrong 'use': sig is taken"),
    "alg RS512": (field("alg", "RS512"), "wrong 'alg': RS256 is taken"),
    "alg list": (field("alg", ["RS256"]), "wrong 'alg'"),
    "no kid": (field("kid", None), "must have the fields"),
    "no alg": (field("alg", None), "must have the fields"),
    "x5c": (field("x5c", ["AAAA"]), "must have the fields"),
    "a private part": (field("d", "AAAA"), "must have the fields"),
    "kid a number": (field("kid", 1), "wrong 'kid': text is taken"),
    "kid empty": (field("kid", ""), "kid"),
    "kid with a blank": (field("kid", "a b"), "kid"),
    "kid twice": (lambda content: content["keys"].append(content["keys"][0]), "two keys have one kid"),
    "e 3": (field("e", "Aw"), "an e that is not 65537"),
    "e with a leading zero": (field("e", "AAEAAQ"), "an e that is not 65537"),
    "e padded": (field("e", "AQAB===="), "an e that is not 65537"),
    "n empty": (field("n", ""), "an n that is not canonical"),
    "n short": (field("n", short()), "n"),
    "n with a leading zero": (field("n", "AAAA" + MODULUS), "an n that is not canonical"),
    "n in standard base64": (
        field("n", MODULUS.replace("-", "+").replace("_", "/")),
        "an n that is not canonical",
    ),
    "n with bits left over": (field("n", MODULUS[:-1] + "x"), "an n that is not canonical"),
    "n huge": (field("n", "_" + "A" * 3000), "n"),
    "no keys": (lambda content: content.pop("keys"), "must be an object with a list 'keys'"),
    "an empty list": (lambda content: content["keys"].clear(), "must be an object with a list 'keys'"),
    "too many": (
        lambda content: content["keys"].extend(content["keys"] * 9),
        "must be an object with a list 'keys'",
    ),
    "another member": (lambda content: content.update(x=1), "must be an object with a list 'keys'"),
    "a key that is none": (lambda content: content["keys"].append("x"), "must have the fields"),
}


@pytest.mark.parametrize("name", WRONG)
def test_another_key_set_is_refused_as_a_whole(name: str) -> None:
    content = key_set()
    change, why = WRONG[name]
    change(content)
    with pytest.raises(Permanent, match=why):
        read_jwks(json.dumps(content).encode(), "The key set")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "does not begin with an object"),
        (b"[]", "does not begin with an object"),
        (REAL + b"x", "has something behind its end"),
        (REAL.replace(b'"alg"', b'"kty":"RSA","alg"', 1), "has a key twice"),
        (b"\xef\xbb\xbf" + REAL, "does not begin with an object"),
        (b"{" + b" " * MAX_JWKS + b"}", "at most 65536 are read"),
    ],
    ids=["nothing", "a list", "trailing", "a key twice", "BOM", "large"],
)
def test_strictly_read(data: bytes, why: str) -> None:
    with pytest.raises(Permanent, match=why):
        read_jwks(data, "The key set")


def test_a_root() -> None:
    pem = forge.certificate(forge.root(), forge.root()).public_bytes(Encoding.PEM)
    assert read_root(pem, "The root") == TrustedKeys(roots=(forge.pin(forge.good_chain()),))
    for bad, why in (
        (b"", "must hold one certificate"),
        (pem + pem, "must hold one certificate"),
        (pem.replace(b"MII", b"AII", 1), "is no certificate"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is no certificate"),
    ):
        with pytest.raises(Permanent, match=why):
            read_root(bad, "The root")


def test_the_file_of_googles_root_may_not_be_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "root.pem"
    other.write_bytes(forge.certificate(forge.root(), forge.root()).public_bytes(Encoding.PEM))
    monkeypatch.setattr("shared.appraisal.keys._ROOT_FILE", other)
    with pytest.raises(Permanent, match=r"is not Google's"):
        google()


def test_a_thumbprint_is_the_one_of_rfc_7638() -> None:
    """Its section 3.1 has this key and this thumbprint."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    from shared.appraisal.encoding import from_base64url

    modulus = from_base64url(
        b"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
        b"oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
        b"ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
        b"kEgU8awapJzKnqDKgw"
    )
    assert modulus
    key = RSAPublicNumbers(65537, int.from_bytes(modulus)).public_key()
    assert thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
