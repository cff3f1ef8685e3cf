"""The certificates of a PKI token: leaf, intermediate, root, of which the root alone is pinned.

Intermediates change (the one of 2024 ends 2027-01-23), and Google's leaves have neither subjectAltName nor keyUsage nor
extendedKeyUsage: none is asked for, and what is there is honoured.
Root page: https://cloud.google.com/confidential-computing/confidential-space/docs/connect-external-resources
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import lru_cache

from shared.appraisal.case import Case, Refused, shown
from shared.appraisal.certificates import Certificate, Chain, Unreadable, read
from shared.appraisal.keys import EXPONENT, MAX_BITS, MIN_BITS

_NAMES = ("leaf", "intermediate", "root")
_MAX_CERTIFICATE = 8 * 1024
"""Characters of base64. Google's have at most 2,476."""


def _of_chain(ask: Callable[[Case], str]) -> Callable[[Case], str]:
    """A check that holds for an OIDC token, which has no chain; key id and signature are checked for both."""

    @functools.wraps(ask)
    def asked(case: Case) -> str:
        return ask(case) if case.token_type == "PKI" else "an OIDC token has no chain"  # noqa: S105 - a kind

    return asked


@_of_chain
def certificates(case: Case) -> str:
    found = case.header["x5c"]
    if (
        not isinstance(found, list)
        or len(found) != 3
        or not all(isinstance(each, str) and 0 < len(each) <= _MAX_CERTIFICATE for each in found)
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


@_of_chain
def pinned_root(case: Case) -> str:
    root = _chain(case).certificates[2].fingerprint
    if root not in case.keys.roots:
        raise Refused(root, "The third certificate is not the pinned root: this chain is somebody else's.")
    return root


@_of_chain
def strength(case: Case) -> str:
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


@_of_chain
def authorities(case: Case) -> str:
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


@_of_chain
def order(case: Case) -> str:
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


@_of_chain
def validity(case: Case) -> str:
    chain = _chain(case)
    for name, each in _named(chain):
        if not each.not_before <= case.now <= each.not_after:
            raise Refused(
                f"{name}, from {each.not_before:.0f} to {each.not_after:.0f}",
                f"The {name} is not valid at {case.now:.0f}.",
            )
    return f"until {min(each.not_after for each in chain.certificates):.0f}"


def _chain(case: Case) -> Chain:
    if case.chain is None:
        raise Refused("", "There are no certificates.")
    return case.chain


def _named(chain: Chain) -> zip[tuple[str, Certificate]]:
    return zip(_NAMES, chain.certificates, strict=True)
