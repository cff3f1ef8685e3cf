"""The certificates of a PKI token: leaf, intermediate, root, of which the root alone is pinned.

Intermediates change (the one of 2024 ends 2027-01-23), and Google's leaves have neither subjectAltName nor keyUsage nor
extendedKeyUsage: none is asked for, and what is there is honoured.
Root page: https://cloud.google.com/confidential-computing/confidential-space/docs/connect-external-resources
"""

from __future__ import annotations

from functools import lru_cache

from shared.appraisal.case import Case, Refused, shown
from shared.appraisal.certificates import Certificate, Chain, Unreadable, read
from shared.appraisal.keys import EXPONENT, MAX_BITS, MIN_BITS

NO_CHAIN = "an OIDC token has no chain"
"""These checks hold for an OIDC token; key id and signature are asked of both kinds."""
_NAMES = ("leaf", "intermediate", "root")
_MAX_CERTIFICATES = 16 * 1024
"""Characters of base64 together. Google's have 6,456."""


def certificates(case: Case) -> str:
    if case.token_type != "PKI":  # noqa: S105 - a kind, no secret
        return NO_CHAIN
    found = case.header["x5c"]
    if (
        type(found) is not list
        or len(found) != 3
        or not (type(found[0]) is type(found[1]) is type(found[2]) is str)
        or not 0 < len(found[0]) + len(found[1]) + len(found[2]) <= _MAX_CERTIFICATES
    ):
        count = f"{len(found)} entries" if isinstance(found, list) else shown(type(found).__name__)
        raise Refused(
            count, "The header's x5c is not three certificates as text: leaf, intermediate and root."
        )
    try:
        case.chain = read((found[0], found[1], found[2]))
    except Unreadable as error:
        raise Refused("3 certificates", f"In the header's x5c, {error}.") from error
    return "3 certificates"


def pinned_root(case: Case) -> str:
    if case.token_type != "PKI":  # noqa: S105 - a kind, no secret
        return NO_CHAIN
    root = _chain(case).certificates[2].fingerprint
    if root not in case.keys.roots:
        raise Refused(root, "The third certificate is not the pinned root: this chain is somebody else's.")
    return root


def strength(case: Case) -> str:
    if case.token_type != "PKI":  # noqa: S105 - a kind, no secret
        return NO_CHAIN
    return _strength(_chain(case))


@lru_cache(maxsize=64)
def _strength(chain: Chain) -> str:
    sizes = []
    for name, each in _named(chain):
        if each.key is None:
            raise Refused(name, f"The {name}'s key is not RSA.")
        if not MIN_BITS <= each.bits <= MAX_BITS or each.exponent != EXPONENT:
            raise Refused(
                f"{name}, {each.bits} bits, exponent {each.exponent}",
                f"The {name}'s key must have {MIN_BITS} to {MAX_BITS} bits and the exponent {EXPONENT}.",
            )
        if not each.rsa_sha256:
            raise Refused(name, f"The {name} is not signed by RSA (PKCS #1 v1.5) with SHA-256.")
        sizes.append(each.bits)
    return f"{sizes[0]}, {sizes[1]} and {sizes[2]} bits"


def authorities(case: Case) -> str:
    if case.token_type != "PKI":  # noqa: S105 - a kind, no secret
        return NO_CHAIN
    return _authorities(_chain(case))


@lru_cache(maxsize=64)
def _authorities(chain: Chain) -> str:
    leaf, intermediate, root = chain.certificates
    for name, each in _named(chain):
        if not each.version3 or each.unknown_critical:
            raise Refused(
                name, f"The {name} is not version 3, or has a critical extension that is not known here."
            )
    if leaf.authority or not leaf.signs_data:
        raise Refused("leaf", "The leaf is itself an authority, or may not sign data: it signs no tokens.")
    for name, each, below in (("intermediate", intermediate, 0), ("root", root, 1)):
        if not each.authority or not each.signs_certificates:
            raise Refused(name, f"The {name} is no certificate authority (basicConstraints, keyUsage).")
        if each.path_length is not None and each.path_length < below:
            raise Refused(name, f"The {name} may not have {below} authorities below it (pathLenConstraint).")
    return "an end entity and two authorities"


def order(case: Case) -> str:
    if case.token_type != "PKI":  # noqa: S105 - a kind, no secret
        return NO_CHAIN
    return _order(_chain(case))


@lru_cache(maxsize=64)
def _order(chain: Chain) -> str:
    for number, linked in enumerate(chain.linked):
        if not linked:
            issuer = _NAMES[min(number + 1, 2)]
            raise Refused(
                _NAMES[number],
                f"The {_NAMES[number]} is not issued by the {issuer}: another name or another signature.",
            )
    return "each issued by the next"


def validity(case: Case) -> str:
    if case.token_type != "PKI":  # noqa: S105 - a kind, no secret
        return NO_CHAIN
    chain = _chain(case)
    if not chain.begins <= case.now <= chain.ends:
        for name, each in _named(chain):
            if not each.not_before <= case.now <= each.not_after:
                raise Refused(
                    f"{name}, from {each.not_before:.0f} to {each.not_after:.0f}",
                    f"The {name} is not valid at {case.now:.0f}.",
                )
    return f"until {chain.ends:.0f}"


def _chain(case: Case) -> Chain:
    if case.chain is None:
        raise Refused("", "There are no certificates.")
    return case.chain


def _named(chain: Chain) -> zip[tuple[str, Certificate]]:
    return zip(_NAMES, chain.certificates, strict=True)
