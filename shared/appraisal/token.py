"""The envelope of a token: a JSON Web Token in compact form (RFC 7515, section 7.1), its key, and whether it holds.

Nothing of the payload is read before the signature over it was verified. The two kinds of header, as real tokens have
them, are {alg, kid, typ} (OIDC) and {alg, typ, x5c} with or without kid (PKI): every other field is refused, so no
header says where its key comes from (jwk, jku, x5u) or changes what is signed (b64, crit, zip, cty).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from shared.appraisal import strict_json
from shared.appraisal.case import Case, Refused, shown
from shared.appraisal.encoding import from_base64url

MAX_TOKEN = 32 * 1024
"""Characters. A real PKI token has 11,263."""
_PADDING, _HASH = PKCS1v15(), Prehashed(SHA256())
_OIDC_FIELDS = {"alg", "kid", "typ"}
_PKI_FIELDS = {"alg", "typ", "x5c"}


def fingerprint(token: str | bytes) -> str:
    """sha256 of the token's bytes, whatever they are: what may be stored and shown of it."""
    data = token.encode(errors="surrogatepass") if isinstance(token, str) else token
    return "sha256:" + hashlib.sha256(data).hexdigest()


# Headers are remembered: an issuer's are all alike, and a chain of certificates is long. Nobody changes one.
_fields = lru_cache(maxsize=64)(strict_json.parse)
_HEADERS: dict[int, tuple[bytes, bytes]] = {}


def _header(part: bytes) -> bytes | None:
    """`part` decoded. The last header of each length is known: to compare bytes is cheaper than to hash them."""
    known = _HEADERS.get(len(part))
    if known and known[0] == part:
        return known[1]
    data = from_base64url(part)
    if data is not None:
        if len(_HEADERS) >= 64:
            _HEADERS.clear()
        _HEADERS[len(part)] = (part, data)
    return data


def size(case: Case) -> str:
    try:
        encoded = case.token.encode("ascii") if isinstance(case.token, str) else case.token
    except UnicodeEncodeError as error:
        raise Refused(f"{len(case.token)} characters", "The token holds characters outside ASCII.") from error
    length = len(encoded)
    if not 0 < length <= MAX_TOKEN:
        raise Refused(f"{length} bytes", f"The token has {length} bytes; between 1 and {MAX_TOKEN} are read.")
    case.encoded = encoded
    return f"{length} bytes"


def form(case: Case) -> str:
    encoded = case.encoded
    # Sought from both ends: `split` walks through a chain of certificates letter by letter.
    first, last = encoded.find(b"."), encoded.rfind(b".")
    parts = encoded[:first], encoded[first + 1 : last], encoded[last + 1 :]
    if not (0 < first < last - 1 and parts[2]) or b"." in parts[1]:
        raise Refused(
            f"{encoded.count(b'.') + 1} parts",
            "The token is not three parts between dots: a header, a payload and a signature.",
        )
    case.parts = parts
    return "3 parts"


def encoding(case: Case) -> str:
    parts = case.parts
    header = _header(parts[0])
    payload, signature = from_base64url(parts[1]), from_base64url(parts[2])
    if header is None or payload is None or signature is None:
        name = "header" if header is None else "payload" if payload is None else "signature"
        raise Refused(
            name,
            f"The {name} is not the one base64url spelling of its bytes: there is padding, white space, a "
            "character of another alphabet, or there are bits left over.",
        )
    case.encoded_header, case.payload, case.signature = header, payload, signature
    return "3 parts"


def header_json(case: Case) -> str:
    try:
        case.header = _fields(case.encoded_header)
    except strict_json.BadJson as error:
        raise Refused(f"{len(case.encoded_header)} bytes", f"The header {error}.") from error
    return "an object"


def algorithm(case: Case) -> str:
    found = case.header.get("alg")
    if found != "RS256":
        raise Refused(
            shown(found), "The header's alg is not exactly RS256, the one algorithm that is verified here."
        )
    return "RS256"


def kind(case: Case) -> str:
    found = case.header.get("typ")
    if found != "JWT":
        raise Refused(shown(found), "The header's typ is not exactly JWT.")
    return "JWT"


def header_fields(case: Case) -> str:
    fields = case.header.keys()
    if "x5c" in fields:
        if fields == _PKI_FIELDS or fields == _PKI_FIELDS | {"kid"}:
            case.token_type = "PKI"  # noqa: S105 - a kind, no secret
            return "a PKI token"
    elif fields == _OIDC_FIELDS:
        case.token_type = "OIDC"  # noqa: S105
        return "an OIDC token"
    raise Refused(
        shown(", ".join(sorted(fields))),
        "The header's fields are neither alg, kid, typ (OIDC) nor alg, typ, x5c and perhaps kid (PKI).",
    )


def token_type(case: Case) -> str:
    if case.token_type not in case.policy.token_types:
        raise Refused(
            str(case.token_type),
            f"The policy takes tokens of type {' and '.join(case.policy.token_types)} only.",
        )
    return str(case.token_type)


def key_id(case: Case) -> str:
    """OIDC: names one of the trusted keys, letter by letter. PKI: is the leaf's thumbprint, if it is there."""
    found = case.header.get("kid")
    if case.token_type == "OIDC":  # noqa: S105
        case.public_key = case.keys.by_kid.get(found) if isinstance(found, str) else None
        if not case.public_key:
            raise Refused(
                shown(found), "The header's kid is not exactly that of a key in the issuer's key set."
            )
        return str(found)
    chain = case.chain
    if chain is None or not chain.thumbprint or ("kid" in case.header and found != chain.thumbprint):
        raise Refused(
            shown(found), "The header's kid is not the thumbprint (RFC 7638) of the leaf certificate's key."
        )
    case.public_key = chain.certificates[0].key
    return chain.thumbprint


def signature(case: Case) -> str:
    key, encoded = case.public_key, case.encoded
    # Hashed once, for the signature and then for the whole token.
    hashed = hashlib.sha256(encoded[: -len(case.parts[2]) - 1])
    if key is None or len(case.signature) != (key.key_size + 7) // 8:
        raise Refused(
            f"{len(case.signature)} bytes", "The signature's length is not that of the key that it names."
        )
    try:
        key.verify(case.signature, hashed.digest(), _PADDING, _HASH)
    except InvalidSignature as error:
        raise Refused(
            f"{len(case.signature)} bytes", "The signature is not this key's over this header and payload."
        ) from error
    hashed.update(encoded[-len(case.parts[2]) - 1 :])
    case.token_digest = "sha256:" + hashed.hexdigest()
    return f"{len(case.signature)} bytes"


def peek(token: str | bytes) -> tuple[str, str]:
    """Type and key id that `token` claims, to know which keys to fetch; empty where it is no such token.

    Unverified: only good for a look-up of keys.
    """
    data = token.encode("ascii", errors="replace") if isinstance(token, str) else token
    header = from_base64url(data[:MAX_TOKEN].partition(b".")[0])
    try:
        fields = strict_json.parse(header or b"")
    except strict_json.BadJson:
        return "", ""
    found = fields.get("kid", "")
    return "PKI" if "x5c" in fields else "OIDC", found if isinstance(found, str) else ""
