"""A policy and its reference values as a condition in CEL, which Google's Security Token Service asks of every token.

https://cloud.google.com/iam/docs/workload-identity-federation#conditions, the claims as
https://cloud.google.com/confidential-computing/confidential-space/docs/reference/attestation-assertions names them.
An expression that fails (an absent claim, a wrong type) refuses the token. `||` however hides a failure behind a true
side, so what may be absent is asked with `!has(x) || …`.

Said here, as `appraise` has it: hwmodel, swname, dbgstat, secboot, oemid, support attributes, software version, TDX
status, GPU, monitoring, project and zone, service accounts, overrides, signers; and for each image digest, its
configuration and arguments. UNSAID names the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.errors import Permanent
from shared.model.appraisal import AppraisalPolicy
from shared.model.value import printable

UNSAID = (
    "nonce",
    "age",
    "lifetime",
    "audience of our own",
    "environment beyond the overrides (the image's configuration fixes it)",
    "expiry of reference values (see the condition of each image)",
)
"""What a condition cannot ask: only an appraisal by the attestation stage does."""
_SUPPORT = ("STABLE", "USABLE", "LATEST")
_LONGEST = 4096
"""Characters (https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools.providers)."""
_SPACE, _CONTAINER = "assertion.submods.confidential_space", "assertion.submods.container"
_GCE = "assertion.submods.gce"


@dataclass(frozen=True)
class Image:
    """An image that the workload may run, with what else the token says of it."""

    digests: tuple[str, ...]
    """The manifest's, and the index's that lists it, if there is one."""
    config: str
    args: tuple[str, ...]


def condition(policy: AppraisalPolicy, images: Sequence[Image]) -> str:
    """The attribute condition: true for a token whose claims `appraise` would accept, as far as CEL can say."""
    if not images:
        raise Permanent(
            "There is no image to admit: without one, the condition would hold for none or for any."
        )
    expression = " && ".join([*_machine(policy), *_workload(policy), _either(map(_image, images))])
    if len(expression) > _LONGEST:
        raise Permanent(
            f"The condition for {policy.service} has {len(expression)} characters, Google takes {_LONGEST}: name fewer "
            "reference values, or fewer allowed values in the policy."
        )
    return expression


def literal(text: str) -> str:
    """`text` as a CEL string (https://github.com/google/cel-spec/blob/master/doc/langdef.md#string-and-bytes-values).

    Whatever is not plain ASCII is escaped, and so are `$` and `%`: Terraform would take `${` and `%{` for its own.
    """
    return "'" + "".join(map(_escaped, text)) + "'"


def pattern(name: str, regular: str) -> str:
    """A policy's pattern for the whole value of `name`, as the CEL string that matches() takes.

    matches() searches, so the pattern is anchored. Google's regular expressions are RE2's
    (https://github.com/google/re2/wiki/Syntax), the policy's are Python's: only what means the same in both is taken.
    """
    at, groups, last = 0, [1], 1  # of each open group, and of what stands last, the repetitions
    while at < len(regular):
        token = _TOKEN.match(regular, at)
        if token is None:
            raise Permanent(
                f"The pattern for {name} uses {printable(regular[at : at + 12], 20)}, which Google's regular "
                "expressions lack or read differently; write it with plain groups, classes and repetitions."
            )
        at = token.end()
        if token[0][0] == "(":
            groups.append(1)
        elif token[0] == ")":
            last = groups.pop()
        else:
            last = last * int(token["most"] or token["least"]) if token["least"] else 1
        groups[-1] = max(groups[-1], last)
    if max(groups) > _REPEATS:
        raise Permanent(
            f"The pattern for {name} repeats up to {max(groups)} times in all, Google's regular expressions at most "
            f"{_REPEATS}; write * or + where the count does not matter."
        )
    return literal(rf"\A(?:{regular})\z")


_REPEATS = 1000
"""RE2 counts nested repetitions by multiplying them."""
_PUNCTUATION = r"\\[!-/:-@\[-`{-~]"
_TOKEN = re.compile(
    r"(?:[*+?]|\{(?P<least>[0-9]{1,4})(?:,(?P<most>[0-9]{1,4})?)?\})\??(?![*+?{])"  # *+ would be possessive
    r"|\(\?:|\((?!\?)|[)|.^$]"
    rf"|\\[dDwW]|{_PUNCTUATION}"
    rf"|\[\^?(?:[A-Za-z0-9 !\"#$%&'()*+,./:;<=>?@_{{|}}~-]|\\[dw]|{_PUNCTUATION})+\]"
    r"|[A-Za-z0-9 !\"#%&',/:;<=>@_~-]",
    re.ASCII,
)


def _machine(policy: AppraisalPolicy) -> list[str]:
    """What the token must say of the machine and of the Confidential Space image that it booted."""
    support = f"{_SPACE}.support_attributes"
    monitoring = f"{_SPACE}.monitoring_enabled"
    terms = [
        f"assertion.swname == {literal(policy.swname)}",
        f"assertion.dbgstat == {literal(policy.dbgstat)}",
        "assertion.secboot == true",
        # A number of JSON is a double or an int, as the reader likes it; one of the two sides may fail.
        f"(assertion.oemid == {policy.oemid} || assertion.oemid == {policy.oemid}.0)",
        f"assertion.hwmodel in {_list(policy.hwmodel)}",
        *(f"{literal(each)} in {support}" for each in sorted(set(policy.support_attributes))),
        f"{support}.all(a, a in {_list(_SUPPORT)})",
        "size(assertion.swversion) == 1",
        "assertion.swversion[0].matches('^[0-9]{6}$')",
        f"int(assertion.swversion[0]) >= {policy.swversion_minimum}",
        "(assertion.hwmodel == 'GCP_INTEL_TDX' ? "
        f"assertion.tdx.gcp_attester_tcb_status in {_list(policy.tdx_tcb_status)} : !has(assertion.tdx))",
    ]
    if policy.gpu == "none":
        terms.append("!has(assertion.submods.nvidia_gpu)")
    else:
        terms.append("assertion.submods.nvidia_gpu.cc_mode == 'ON'")
    if policy.memory_monitoring == "forbidden":
        terms.append(f"{monitoring}.memory == false && {monitoring}.all(k, {monitoring}[k] == false)")
    else:
        terms.append(f"{monitoring}.memory in [true, false]")
    terms.append(
        _either(
            f"{_GCE}.project_id == {literal(each.id)} && {_GCE}.project_number == {literal(each.number)}"
            for each in policy.projects
        )
    )
    if policy.zones is not None:
        terms.append(f"{_GCE}.zone in {_list(policy.zones)}")
    return terms


def _workload(policy: AppraisalPolicy) -> list[str]:
    """What the token must say of the workload's account, and of what the operator changed or signed."""
    accounts = "assertion.google_service_accounts"
    terms = [
        f"size({accounts}) > 0 && {accounts}.all(a, a in {_list(policy.service_accounts)})",
        _absent_or(f"{_CONTAINER}.cmd_override", "[]"),
    ]
    overrides = f"{_CONTAINER}.env_override"
    if policy.env_overrides:
        allowed = _either(
            f"k == {literal(name)} && {overrides}[k].matches({pattern(name, regular)})"
            for name, regular in sorted(policy.env_overrides.items())
        )
        terms.append(f"(!has({overrides}) || {overrides}.all(k, {allowed}))")
    else:
        terms.append(_absent_or(overrides, "{}"))
    if policy.signers:
        signatures = f"{_CONTAINER}.image_signatures"
        found = f"{_list(policy.signers.key_ids)}.filter(k, {signatures}.exists(s, s.key_id == k))"
        terms.append(f"size({found}) >= {policy.signers.minimum}")
    return terms


def _image(image: Image) -> str:
    return (
        f"{_CONTAINER}.image_digest in {_list(image.digests)} && {_CONTAINER}.image_id == {literal(image.config)} && "
        f"{_CONTAINER}.args == [{', '.join(map(literal, image.args))}]"
    )


def _absent_or(claim: str, empty: str) -> str:
    return f"(!has({claim}) || {claim} == {empty})"


def _either(terms: Iterable[str]) -> str:
    return f"({' || '.join(f'({term})' for term in terms)})"


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(literal, sorted(set(texts))))}]"


def _escaped(character: str) -> str:
    if character in "\\'":
        return "\\" + character
    if " " <= character <= "~" and character not in "$%":
        return character
    if 0xD800 <= ord(character) <= 0xDFFF:
        raise Permanent("A condition cannot hold half a character (a lone surrogate); correct the policy.")
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
