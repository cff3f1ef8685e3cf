"""Hostile certificates, and one kind of token passed off as the other."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

from cryptography.hazmat.primitives import hashes

from shared.appraisal.keys import TrustedKeys, thumbprint
from tests.appraisal import forge
from tests.appraisal.forge import Inputs, Spec
from tests.appraisal.hostile import Hostile


def good_pki() -> Inputs:
    return forge.good(forge.pki())


def token(x5c: Sequence[str], signing: object = None, kid: str | None = None, pinned: str = "") -> Inputs:
    """A PKI token with the chain `x5c`, whose root is pinned unless another is."""
    key = signing or forge.key("leaf")
    header = forge.pki_header(x5c)
    header["kid"] = kid if kid is not None else thumbprint(key.public_key())  # type: ignore[attr-defined]
    keys = TrustedKeys(oidc=forge.keys().oidc, roots=(pinned or forge.pin(x5c),))
    return forge.good(forge.pki(header=header, signing=key), keys=keys)  # type: ignore[arg-type]


def made(
    name: str,
    check: str,
    leaf: dict[str, object] | None = None,
    intermediate: dict[str, object] | None = None,
    root: dict[str, object] | None = None,
) -> Hostile:
    """A chain with something changed in one of its certificates, signed properly and its root pinned."""

    def bad() -> Inputs:
        specs = [
            replace(good(), **(change or {}))  # type: ignore[arg-type]
            for good, change in ((forge.leaf, leaf), (forge.intermediate, intermediate), (forge.root, root))
        ]
        return token(forge.chain(*specs), specs[0].key)

    return Hostile(f"chain: {name}", check, bad, good_pki)


def listed(name: str, check: str, change: Callable[[list[str]], object]) -> Hostile:
    """The good chain's list, changed; the good root stays pinned."""

    def bad() -> Inputs:
        header = forge.pki_header()
        header["x5c"] = change(list(forge.good_chain()))
        return forge.good(forge.pki(header=header))

    return Hostile(f"x5c: {name}", check, bad, good_pki)


def foreign() -> Inputs:
    """A whole chain of an attacker's, with our names."""
    x5c = forge.chain(
        replace(forge.leaf(), key=forge.key("evil leaf")),
        replace(forge.intermediate(), key=forge.key("evil intermediate")),
        replace(forge.root(), key=forge.key("evil root")),
    )
    return token(x5c, forge.key("evil leaf"), pinned=forge.pin(forge.good_chain()))


def mixed(position: int) -> Inputs:
    """Our root behind an attacker's leaf (0), or behind her leaf and intermediate (1)."""
    evil_leaf = replace(forge.leaf(), key=forge.key("evil leaf"))
    evil_intermediate = replace(forge.intermediate(), key=forge.key("evil intermediate"))
    x5c = list(forge.good_chain())
    x5c[: position + 1] = forge.chain(evil_leaf, evil_intermediate, forge.root())[: position + 1]
    if position == 1:  # the intermediate signed by a root of the attacker's with our root's name
        x5c[1] = forge.der(
            forge.certificate(evil_intermediate, replace(forge.root(), key=forge.key("evil root")))
        )
    return token(x5c, forge.key("evil leaf"))


def ec_leaf() -> Inputs:
    x5c = forge.chain(replace(forge.leaf(), key=forge.ec_key("leaf")), forge.intermediate(), forge.root())
    return token(x5c)


def other_name() -> Inputs:
    """Signed by the intermediate's key under another issuer's name."""
    x5c = list(forge.good_chain())
    x5c[0] = forge.der(forge.certificate(forge.leaf(), replace(forge.intermediate(), name="Another CA")))
    return token(x5c)


def not_self_signed() -> Inputs:
    """A pinned 'root' that somebody else issued."""
    x5c = list(forge.good_chain())
    x5c[2] = forge.der(forge.certificate(forge.root(), replace(forge.root(), key=forge.key("evil root"))))
    return token(x5c)


def raw(certificate: str, change: Callable[[bytes], bytes]) -> str:
    return base64.b64encode(change(base64.b64decode(certificate))).decode()


def unused_bits(certificate: str) -> str:
    """The certificate with its signature's bit string said to have an unused bit."""
    der = bytearray(base64.b64decode(certificate))
    assert der[-257] == 0
    der[-257], der[-1] = 1, der[-1] & 0xFE
    return base64.b64encode(der).decode()


def pem(certificate: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n"


def at(days: float) -> Callable[[], Inputs]:
    """A token made and appraised `days` from now, with certificates of today."""

    def build() -> Inputs:
        shift = int(days * 86_400)
        content = forge.claims()
        for name in ("iat", "nbf", "exp"):
            content[name] += shift
        reference = forge.reference(agreed=1, expires=2**40)
        return forge.good(forge.pki(content), now=forge.NOW + shift, references=(reference,))

    return build


@functools.cache
def only(kind: str) -> dict[str, object]:
    return {"policy": forge.policy_with(token_types=[kind])}


def leaf_as_oidc_key() -> Inputs:
    """A PKI token without its chain, under the key id that a key set has."""
    header = forge.oidc_header()
    return forge.good(forge.oidc(header=header, signing=forge.key("leaf")))


def without_chain() -> Inputs:
    header = forge.pki_header()
    del header["x5c"]
    return forge.good(forge.pki(header=header))


def oidc_with_chain() -> Inputs:
    """An OIDC token with Google's good chain put beside it: signed by the key set's key."""
    return forge.good(forge.oidc(header=forge.pki_header()))


def oidc_kid_with_chain() -> Inputs:
    header = forge.pki_header(kid=forge.KID)
    return forge.good(forge.oidc(header=header))


def key_set_certificate() -> Inputs:
    """The key set's key in a certificate that nobody but itself vouches for."""
    spec = Spec("Leaf", forge.key("oidc"), ca=False, cert_sign=None)
    own = forge.der(forge.certificate(spec, spec))
    header = forge.pki_header([own, own, own], thumbprint(forge.key("oidc").public_key()))
    return forge.good(forge.oidc(header=header))


SHORT = {"key": forge.key("short", 1024)}
HOSTILE = [
    Hostile("chain: foreign, with our names", "pinned root", foreign, good_pki),
    Hostile("chain: a foreign leaf", "order", lambda: mixed(0), good_pki),
    Hostile("chain: a foreign leaf and intermediate", "order", lambda: mixed(1), good_pki),
    Hostile("chain: signed under another name", "order", other_name, good_pki),
    Hostile("chain: a root that is not self-signed", "order", not_self_signed, good_pki),
    Hostile(
        "chain: no root is trusted",
        "pinned root",
        lambda: forge.good(forge.pki(), keys=TrustedKeys(oidc=forge.keys().oidc)),
        good_pki,
    ),
    made("a short leaf", "strength", leaf=SHORT),
    made("a short intermediate", "strength", intermediate=SHORT),
    made("a short root", "strength", root=SHORT),
    made("a leaf with exponent 3", "strength", leaf={"key": forge.key("three", 2048, 3)}),
    Hostile("chain: an EC leaf", "strength", ec_leaf, good_pki),
    made("an EC intermediate", "strength", intermediate={"key": forge.ec_key("intermediate")}),
    made("an EC root", "strength", root={"key": forge.ec_key("root")}),
    made("a leaf signed with SHA-384", "strength", leaf={"hash": hashes.SHA384()}),
    made("an intermediate signed with SHA-512", "strength", intermediate={"hash": hashes.SHA512()}),
    made("a leaf signed with PSS", "strength", leaf={"pss": True}),
    made("an intermediate that is no authority", "authorities", intermediate={"ca": False}),
    made("an intermediate without basicConstraints", "authorities", intermediate={"ca": None}),
    made(
        "an intermediate that may not sign certificates",
        "authorities",
        intermediate={"cert_sign": False, "digital_signature": True},
    ),
    made("a root that is no authority", "authorities", root={"ca": False}),
    made("a root that allows no intermediate", "authorities", root={"path_length": 0}),
    made("a leaf that is an authority", "authorities", leaf={"ca": True}),
    made("a leaf that may not sign data", "authorities", leaf={"cert_sign": False}),
    made("an unknown critical extension in the leaf", "authorities", leaf={"critical": True}),
    made("an unknown critical extension in the intermediate", "authorities", intermediate={"critical": True}),
    made("an expired leaf", "chain validity", leaf={"ends": -1}),
    made("an expired intermediate", "chain validity", intermediate={"ends": -1}),
    made("an expired root", "chain validity", root={"ends": -1}),
    made("a leaf of tomorrow", "chain validity", leaf={"begins": 1}),
    made("an intermediate of tomorrow", "chain validity", intermediate={"begins": 1}),
    Hostile("chain: a token after the chain's end", "chain validity", at(30.01), at(29.9)),
    Hostile("chain: a token before the chain's beginning", "chain validity", at(-30.01), at(-29.9)),
    listed("re-ordered, root first", "pinned root", lambda x5c: x5c[::-1]),
    listed("re-ordered, intermediate and root", "pinned root", lambda x5c: [x5c[0], x5c[2], x5c[1]]),
    listed("re-ordered, leaf and intermediate", "authorities", lambda x5c: [x5c[1], x5c[0], x5c[2]]),
    listed("the intermediate as leaf", "authorities", lambda x5c: [x5c[1], x5c[1], x5c[2]]),
    listed("the leaf as intermediate", "authorities", lambda x5c: [x5c[0], x5c[0], x5c[2]]),
    listed("the root as intermediate", "order", lambda x5c: [x5c[0], x5c[2], x5c[2]]),
    listed("without root", "certificates", lambda x5c: x5c[:2]),
    listed("the leaf alone", "certificates", lambda x5c: x5c[:1]),
    listed("empty", "certificates", lambda _: []),
    listed("four certificates", "certificates", lambda x5c: [*x5c, x5c[2]]),
    listed("text", "certificates", lambda x5c: x5c[0]),
    listed("null", "certificates", lambda _: None),
    listed("an object", "certificates", lambda x5c: dict(enumerate(x5c))),
    listed("a number in it", "certificates", lambda x5c: [1, *x5c[1:]]),
    listed("a list in it", "certificates", lambda x5c: [[x5c[0]], *x5c[1:]]),
    listed("empty texts", "certificates", lambda _: ["", "", ""]),
    listed("PEM", "certificates", lambda x5c: [pem(each) for each in x5c]),
    listed("base64url", "certificates", lambda x5c: [x5c[0].replace("+", "-").replace("/", "_"), *x5c[1:]]),
    listed("no padding, or too much", "certificates", lambda x5c: [x5c[0].rstrip("=") + "====", *x5c[1:]]),
    listed("a line end in base64", "certificates", lambda x5c: [x5c[0][:64] + "\n" + x5c[0][64:], *x5c[1:]]),
    listed(
        "bytes behind the certificate",
        "certificates",
        lambda x5c: [raw(x5c[0], lambda der: der + b"\x00"), *x5c[1:]],
    ),
    listed("a signature with unused bits", "certificates", lambda x5c: [x5c[0], unused_bits(x5c[1]), x5c[2]]),
    listed("half a certificate", "certificates", lambda x5c: [raw(x5c[0], lambda der: der[:300]), *x5c[1:]]),
    listed("no certificates at all", "certificates", lambda _: ["AAAA", "AAAA", "AAAA"]),
    listed("one too large", "certificates", lambda x5c: [x5c[0] + "A" * 16000, *x5c[1:]]),
    Hostile(
        "kid: not the leaf's thumbprint",
        "key id",
        lambda: forge.good(forge.pki(header=forge.pki_header(kid="A" * 43))),
        good_pki,
    ),
    Hostile(
        "kid: the thumbprint in capitals",
        "key id",
        lambda: forge.good(forge.pki(header=forge.pki_header(kid=forge.pki_header()["kid"].upper()))),
        good_pki,
    ),
    Hostile("kid: empty", "key id", lambda: forge.good(forge.pki(header=forge.pki_header(kid=""))), good_pki),
    Hostile(
        "kid: null",
        "key id",
        lambda: forge.good(forge.pki(header={**forge.pki_header(), "kid": None})),
        good_pki,
    ),
    Hostile(
        "kid: a list",
        "key id",
        lambda: forge.good(forge.pki(header={**forge.pki_header(), "kid": [forge.pki_header()["kid"]]})),
        good_pki,
    ),
    Hostile(
        "a foreign key under a good chain",
        "signature",
        lambda: forge.good(forge.pki(signing=forge.key("foreign"))),
        good_pki,
    ),
    Hostile(
        "the intermediate's key",
        "signature",
        lambda: forge.good(forge.pki(signing=forge.key("intermediate"))),
        good_pki,
    ),
    Hostile("scheme: a PKI token without its chain", "key id", without_chain, good_pki),
    Hostile("scheme: a leaf's signature under a key set's name", "signature", leaf_as_oidc_key),
    Hostile("scheme: an OIDC token with a chain beside it", "signature", oidc_with_chain),
    Hostile("scheme: an OIDC token with its kid and a chain", "key id", oidc_kid_with_chain),
    Hostile("scheme: the key set's key in its own certificate", "pinned root", key_set_certificate),
    Hostile(
        "scheme: PKI where OIDC is wanted",
        "token type",
        lambda: forge.good(forge.pki(), **only("OIDC")),
        lambda: forge.good(forge.oidc(), **only("OIDC")),
    ),
    Hostile(
        "scheme: OIDC where PKI is wanted",
        "token type",
        lambda: forge.good(forge.oidc(), **only("PKI")),
        lambda: forge.good(forge.pki(), **only("PKI")),
    ),
    Hostile(
        "scheme: OIDC by roots alone",
        "key id",
        lambda: forge.good(keys=TrustedKeys(roots=forge.keys().roots)),
    ),
    Hostile(
        "scheme: PKI by a key set alone",
        "pinned root",
        lambda: forge.good(forge.pki(), keys=TrustedKeys(oidc=forge.keys().oidc)),
        good_pki,
    ),
    Hostile("keys: nobody is trusted", "key id", lambda: forge.good(keys=TrustedKeys())),
]
