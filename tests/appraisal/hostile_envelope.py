"""Hostile headers, encodings and JSON."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from tests.appraisal import forge
from tests.appraisal.forge import KID, Inputs, url64
from tests.appraisal.hostile import MISSING, Hostile

HEADER, PAYLOAD = forge.dumps(forge.oidc_header()), forge.dumps(forge.claims())


def header(check: str, field: str, value: Any, name: str = "") -> Hostile:
    """A header with one field changed, signed by RS256 all the same."""

    def bad() -> Inputs:
        fields = {**forge.oidc_header(), field: value}
        if value is MISSING:
            del fields[field]
        return forge.good(forge.oidc(header=fields))

    return Hostile(name or f"{field} {'missing' if value is MISSING else repr(value)}", check, bad)


ALGORITHMS = [
    *(
        "none",
        "None",
        "NONE",
        "nOnE",
        "HS256",
        "HS384",
        "HS512",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "ES256",
        "ES512",
    ),
    *(
        "EdDSA",
        "RSA-OAEP",
        "rs256",
        "Rs256",
        "RS256 ",
        " RS256",
        "RS256\n",
        "RS256\x00",
        "RS 256",
        "ＲＳ256",
        "",
        "*",
    ),
    *(None, 256, True, ["RS256"], {"RS256": 1}, MISSING),
]
TYPES = [*("jwt", "Jwt", "JWT ", "at+jwt", "application/jwt", "JOSE", "JWS", "", None, 1, ["JWT"], MISSING)]
FIELDS: dict[str, Any] = {
    "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    "jku": "https://attacker.example/keys",
    "x5u": "https://attacker.example/chain",
    "x5t": "AAAA",
    "x5t#S256": "AAAA",
    "crit": ["exp"],
    "b64": False,
    "zip": "DEF",
    "cty": "JWT",
    "enc": "A256GCM",
    "epk": {},
    "url": "https://attacker.example",
    "nonce": "x",
    "KID": KID,
    "Alg": "none",
    "alg ": "none",
    "": "",
}
KEY_IDS: list[Any] = [
    *(
        "",
        "unknown",
        KID.upper(),
        KID + " ",
        " " + KID,
        KID + "\n",
        KID + "\x00",
        KID[:-1],
        KID + "0",
        "0" + KID,
    ),
    *(KID.replace("a", "а"), KID.replace("1", "１"), KID + "​", "../" + KID, "' OR 1=1", "*", "x" * 5000),
    *(None, 0, 1, True, [KID], {"kid": KID}, [], 1.5),
]

JSON: dict[str, Callable[[bytes], bytes]] = {
    "duplicate key": lambda text: text.replace(b"{", b'{"alg":"RS256","aud":"x","alg":"RS256","aud":"x",', 1),
    "duplicate key, the first the good one": lambda text: text[:-1] + b',"alg":"none","iss":"x"}',
    "duplicate key in escapes": lambda text: text[:-1] + b',"\\u0061lg":"RS256","\\u0069ss":"x"}',
    "NaN": lambda text: text[:-1] + b',"x":NaN}',
    "Infinity": lambda text: text[:-1] + b',"x":Infinity}',
    "minus Infinity": lambda text: text[:-1] + b',"x":-Infinity}',
    "a huge whole number": lambda text: text[:-1] + b',"x":' + b"9" * 400 + b"}",
    "a number beyond 2^53": lambda text: text[:-1] + b',"x":9007199254740993}',
    "a number beyond 2^64": lambda text: text[:-1] + b',"x":-18446744073709551617}',
    "a number that overflows": lambda text: text[:-1] + b',"x":1e999}',
    "a large number by exponent": lambda text: text[:-1] + b',"x":1e300}',
    "a number of many digits": lambda text: text[:-1] + b',"x":0.' + b"1" * 200 + b"}",
    "UTF-16 with byte order mark": lambda text: text.decode().encode("utf-16"),
    "UTF-16 big-endian": lambda text: text.decode().encode("utf-16-be"),
    "UTF-16 little-endian": lambda text: text.decode().encode("utf-16-le"),
    "UTF-32": lambda text: text.decode().encode("utf-32"),
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "bad UTF-8": lambda text: text[:-1] + b',"x":"\xff"}',
    "overlong UTF-8": lambda text: text[:-1] + b',"x":"\xc0\xaf"}',
    "UTF-8 of a surrogate": lambda text: text[:-1] + b',"x":"\xed\xa0\x80"}',
    "a lone surrogate in escapes": lambda text: text[:-1] + b',"x":"\\ud800"}',
    "trailing garbage": lambda text: text + b"x",
    "trailing brace": lambda text: text + b"}",
    "a second object": lambda text: text + text,
    "trailing NUL": lambda text: text + b"\x00",
    "trailing line end": lambda text: text + b"\n",
    "leading blank": lambda text: b" " + text,
    "nested lists": lambda text: text[:-1] + b',"x":' + b"[" * 300 + b"]" * 300 + b"}",
    "nested objects": lambda text: text[:-1] + b',"x":' + b'{"x":' * 300 + b"1" + b"}" * 300 + b"}",
    "nested beyond recursion": lambda text: text[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "nested and unclosed": lambda text: b'{"x":' + b"[" * 900,
    "a list around it": lambda text: b"[" + text + b"]",
    "text around it": lambda text: json.dumps(text.decode()).encode(),
    "single quotes": lambda text: text.replace(b'"', b"'"),
    "a comment": lambda text: text[:-1] + b"/* */}",
    "a trailing comma": lambda text: text[:-1] + b",}",
    "a control character in text": lambda text: text[:-1] + b',"x":"\x01"}',
    "a raw line end in text": lambda text: text[:-1] + b',"x":"\n"}',
    "an unclosed object": lambda text: text[:-1],
    "a leading zero": lambda text: text[:-1] + b',"x":01}',
    "a plus sign": lambda text: text[:-1] + b',"x":+1}',
    "nothing but null": lambda _: b"null",
    "an unquoted key": lambda text: text[:-1] + b",x:1}",
}


def _json() -> list[Hostile]:
    found = []
    for name, change in JSON.items():
        found.append(
            Hostile(
                f"header JSON: {name}",
                "header",
                lambda change=change: forge.good(forge.oidc(header=change(HEADER))),
                lambda: forge.good(forge.oidc(header=HEADER)),
            )
        )
        found.append(
            Hostile(
                f"payload JSON: {name}",
                "payload",
                lambda change=change: forge.good(forge.oidc(change(PAYLOAD))),
                lambda: forge.good(forge.oidc(PAYLOAD)),
            )
        )
    return found


def _raw(name: str, check: str, change: Callable[[str], str | bytes]) -> Hostile:
    """The finished token, changed."""
    return Hostile(name, check, lambda: forge.good(change(forge.oidc())))


def _signed(name: str, check: str, change: Callable[[str, str], tuple[str, str]]) -> Hostile:
    """The encoded parts changed before they are signed: the signature holds over exactly what is sent."""

    def bad() -> Inputs:
        parts = change(url64(HEADER), url64(PAYLOAD))
        return forge.good(forge.sign(forge.key("oidc"), *parts))

    return Hostile(name, check, bad, lambda: forge.good(forge.oidc(PAYLOAD)))


def _spare(text: str) -> str:
    """`text` with another last character that decodes to the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(text) % 4, "no bits are left over"
    return text[:-1] + alphabet[alphabet.index(text[-1]) + 1]


def _odd(data: bytes) -> bytes:
    """JSON of a length that leaves bits over in base64."""
    while len(data) % 3 != 1:
        data = data[:-1] + b',"' + b"x" * (1 + len(data) % 3) + b'":1}'
    return data


def _spare_header() -> Inputs:
    fields = forge.dumps({**forge.oidc_header()})
    assert len(fields) % 3, "choose another key id"
    return forge.good(forge.sign(forge.key("oidc"), _spare(url64(fields)), url64(PAYLOAD)))


def _spare_payload() -> Inputs:
    return forge.good(forge.sign(forge.key("oidc"), url64(HEADER), _spare(url64(_odd(PAYLOAD)))))


def _spare_signature() -> Inputs:
    head, _, tail = forge.oidc().rpartition(".")
    return forge.good(f"{head}.{_spare(tail)}")


def _standard(part: bytes) -> str:
    """Standard base64 that has a + or /."""
    text = base64.b64encode(part).decode().rstrip("=")
    assert "+" in text or "/" in text, "no character of the other alphabet"
    return text


def _with_high_bits(data: bytes) -> bytes:
    return data[:-1] + ',"x":"~~~???ÿÿÿ"}'.encode()


def _hmac_with_public_key() -> Inputs:
    """The classic confusion: the public key as HMAC's secret."""
    secret = (
        forge.key("oidc")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    text = f"{url64(forge.dumps({**forge.oidc_header(), 'alg': 'HS256'}))}.{url64(PAYLOAD)}"
    return forge.good(f"{text}.{url64(hmac.digest(secret, text.encode(), hashlib.sha256))}")


def _other_padding(kind: str) -> Inputs:
    text = f"{url64(HEADER)}.{url64(PAYLOAD)}"
    key = forge.key("oidc")
    if kind == "PSS":
        signature = key.sign(text.encode(), padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    else:
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA512())
    return forge.good(f"{text}.{url64(signature)}")


def _signature(token: str, change: Callable[[bytes], bytes]) -> str:
    head, _, tail = token.rpartition(".")
    return f"{head}.{url64(change(base64.urlsafe_b64decode(tail + '==')))}"


def _flip(data: bytes) -> bytes:
    return data[:100] + bytes([data[100] ^ 1]) + data[101:]


def _swapped_payload(token: str) -> str:
    head, payload, tail = token.split(".")
    del payload
    return f"{head}.{url64(forge.dumps({**forge.claims(), 'x': 1}))}.{tail}"


RAW = [
    _raw("nothing", "size", lambda _: ""),
    _raw("no bytes", "size", lambda _: b""),
    Hostile("oversize", "size", lambda: forge.good(forge.oidc({**forge.claims(), "x": "y" * 40_000}))),
    _raw("oversize garbage", "size", lambda _: "x" * 10_000_000),
    _raw("a character outside ASCII", "size", lambda token: token + "é"),
    _raw("one part", "form", lambda token: token.replace(".", "")),
    _raw("two parts, unsecured", "form", lambda token: token.rpartition(".")[0]),
    _raw("four parts", "form", lambda token: token + ".AAAA"),
    _raw("five parts, as encrypted tokens have", "form", lambda token: token + ".AAAA.AAAA"),
    _raw("an empty signature", "form", lambda token: token.rpartition(".")[0] + "."),
    _raw("an empty payload, detached", "form", lambda token: f"{token.split('.')[0]}..{token.split('.')[2]}"),
    _raw("an empty header", "form", lambda token: "." + token.partition(".")[2]),
    _raw(
        "JSON serialisation",
        "form",
        lambda token: json.dumps(dict(zip("hps", token.split("."), strict=True))),
    ),
    _raw("a Bearer prefix", "encoding", lambda token: "Bearer " + token),
    _raw("quotes", "encoding", lambda token: f'"{token}"'),
    _raw("a line end behind it", "encoding", lambda token: token + "\n"),
    _raw("a blank before it", "encoding", lambda token: " " + token),
    _raw("a NUL behind it", "encoding", lambda token: token + "\x00"),
    _raw("a padded signature", "encoding", lambda token: token + "=="),
    _raw("bytes outside ASCII", "encoding", lambda token: token.encode() + b"\xff"),
    _raw("an impossible length", "encoding", lambda token: token + "AAA"),
    _signed("a padded header", "encoding", lambda head, body: (head + "=" * (-len(head) % 4 or 4), body)),
    _signed("a padded payload", "encoding", lambda head, body: (head, body + "=" * (-len(body) % 4 or 4))),
    _signed("a line end in the payload", "encoding", lambda head, body: (head, body[:80] + "\n" + body[80:])),
    _signed("a blank in the header", "encoding", lambda head, body: (head[:8] + " " + head[8:], body)),
    _signed(
        "the standard alphabet in the payload",
        "encoding",
        lambda head, _: (head, _standard(_with_high_bits(PAYLOAD))),
    ),
    Hostile("bits left over in the header", "encoding", _spare_header),
    Hostile(
        "bits left over in the payload",
        "encoding",
        _spare_payload,
        lambda: forge.good(forge.oidc(_odd(PAYLOAD))),
    ),
    Hostile("bits left over in the signature", "encoding", _spare_signature),
    Hostile("HMAC with the public key", "algorithm", _hmac_with_public_key),
    Hostile("signed with PSS", "signature", lambda: _other_padding("PSS")),
    Hostile("signed with SHA-512", "signature", lambda: _other_padding("SHA512")),
    _raw("one bit of the signature", "signature", lambda token: _signature(token, _flip)),
    _raw("a signature cut short", "signature", lambda token: _signature(token, lambda data: data[:-1])),
    _raw("a signature of zeros", "signature", lambda token: _signature(token, lambda data: bytes(len(data)))),
    _raw("a longer signature", "signature", lambda token: _signature(token, lambda data: b"\x00" + data)),
    _raw("another payload", "signature", _swapped_payload),
    Hostile(
        "another key of the set", "signature", lambda: forge.good(forge.oidc(signing=forge.key("other-oidc")))
    ),
    Hostile("a foreign key", "signature", lambda: forge.good(forge.oidc(signing=forge.key("foreign")))),
]
HOSTILE = [
    *(header("algorithm", "alg", value) for value in ALGORITHMS),
    *(header("type", "typ", value) for value in TYPES),
    *(header("header fields", field, value) for field, value in FIELDS.items()),
    header("header fields", "kid", MISSING),
    *(header("key id", "kid", value) for value in KEY_IDS),
    *_json(),
    *RAW,
]
