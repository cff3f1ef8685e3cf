"""The rules of each ecosystem about one package: every one is asked, and every answer kept. Pure.

Whoever adds a rule adds it to shared.model.policy, here, to the policies in shared/data and to docs/policy.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.model.case import Subject
from shared.model.policy import EPSS, KEV, ExploitProbability, PackageRule
from shared.model.purl_pattern import fits, matches
from shared.model.value import printable
from shared.model.verdict import Decision, RuleAnswer
from shared.policy import names
from shared.policy.about import Graded, Weighed, about, by_severity, same, sure
from shared.policy.attestations import asked
from shared.policy.bench import Bench
from shared.policy.index_facts import cooldown, licences, yanked

_UNASKED = "the policy does not ask"


def answers(subject: Subject, found: Sequence[Weighed], bench: Bench) -> list[RuleAnswer]:
    """What the rules of the package's ecosystem say, in their order, and the standing answers last."""
    match subject.package.ecosystem:
        case "pypi":
            own = [*_pypi(subject, found, bench), *_attested(subject, bench)]
        case "debian":
            own = _debian(subject, found, bench)
        case "generic":
            own = _generic(subject, found, bench)
    return [*own, standing(subject, bench)]


def _attested(subject: Subject, bench: Bench) -> list[RuleAnswer]:
    """That it will be asked, and nothing more: attestations are of files, and which of them enter is not known yet."""
    if (
        not bench.rules.attestations
        or (rule := asked(subject.package.purl, bench.rules.attestations)) is None
    ):
        return []
    by = " or ".join("anybody" if each == "*" else each for each in rule.publishers)
    reason = f"its files must be attested, by {by} ({rule.purl}): that is asked of those which are locked"
    return [RuleAnswer(rule="attestations", answer="allow", reason=reason)]


def standing(subject: Subject, bench: Bench) -> RuleAnswer:
    """The first of the policy's patterns that means the package."""
    if each := _named(subject, bench):
        reason = f"the policy names {each.purl}: {each.reason}"
        return RuleAnswer(rule="packages", answer=each.answer, reason=reason)
    return RuleAnswer(rule="packages", answer="allow", reason="the policy does not name it")


def allowed_by_name(subject: Subject, bench: Bench) -> str:
    """The reason of the policy's pattern that allows the package whatever other rules say; empty if none does."""
    each = _named(subject, bench)
    return f"{each.purl}: {each.reason}" if each and each.answer == "allow" else ""


def _named(subject: Subject, bench: Bench) -> PackageRule | None:
    if not bench.rules.packages:
        return None
    purl = subject.package.purl
    return next((each for each in bench.rules.packages if matches(each.purl, purl)), None)


def _pypi(subject: Subject, found: Sequence[Weighed], bench: Bench) -> list[RuleAnswer]:
    rules = bench.rules.pypi
    levels = rules.severity
    least = levels.block if levels.hold == "never" else levels.hold
    known = [each for each in sure(found) if each.finding.severity != "UNKNOWN"]
    unknown = [each for each in sure(found) if each.finding.severity == "UNKNOWN"]
    bad = [(each, answer) for each in known if (answer := by_severity(each.finding, levels)) != "allow"]
    return [
        _malicious(found, rules.malicious),
        about("severity", bad, f"no advisory of severity {least} or above"),
        about("unknown_severity", same(unknown, rules.unknown_severity), "no advisory of unknown severity"),
        _undecided(found, rules.undecided),
        _known_exploited(found, rules.known_exploited, bench),
        _exploit_probability(found, rules.exploit_probability, bench),
        _origin(subject, rules.direct_url),
        RuleAnswer(
            rule="source_distribution",
            answer=rules.source_distribution if subject.is_sdist else "allow",
            reason="it is a source distribution: installing it runs its build"
            if subject.is_sdist
            else "it is a wheel",
        ),
        yanked(subject, rules.yanked, bench),
        cooldown(subject, rules.cooldown, bench),
        licences(subject, rules.licences, bench),
        _private_name(subject, bench),
        _name_confusion(subject, rules.name_confusion, bench),
    ]


def _debian(subject: Subject, found: Sequence[Weighed], bench: Bench) -> list[RuleAnswer]:
    rules = bench.rules.debian
    fixable = [each for each in sure(found) if each.finding.fixed]
    unfixed: list[Graded] = [
        (
            each,
            rules.unfixed.unknown_severity
            if each.finding.severity == "UNKNOWN"
            else by_severity(each.finding, rules.unfixed),
        )
        for each in sure(found)
        if not each.finding.fixed
    ]
    return [
        *_apt_source(subject, bench),
        _malicious(found, rules.malicious),
        about("fix_available", same(fixable, rules.fix_available), "no fix is missing"),
        about("unfixed", unfixed, "no advisory without a fix"),
        _undecided(found, rules.undecided),
        _known_exploited(found, rules.known_exploited, bench),
        _exploit_probability(found, rules.exploit_probability, bench),
    ]


def _apt_source(subject: Subject, bench: Bench) -> list[RuleAnswer]:
    """Of packages that are not the distribution's: no advisory is about them, so the policy must name the key."""
    pin = subject.apt_source
    if pin is None:
        return []
    allowed = any(each.covers(pin) for each in bench.rules.apt_sources)
    where = f"{printable(pin.url, 120)} {pin.suite} ({', '.join(pin.components) or 'flat'})"
    reason = f"it comes from {where} under the key {pin.key}"
    return [
        RuleAnswer(
            rule="apt_sources",
            answer="allow" if allowed else "block",
            reason=f"{reason}, which the policy {'lists' if allowed else 'does not list under apt_sources'}",
        )
    ]


def _generic(subject: Subject, found: Sequence[Weighed], bench: Bench) -> list[RuleAnswer]:
    rules = bench.rules.generic
    url = printable(subject.fetched_by_url, 120) or "a URL that is not known"
    known = "the workload pins its sha256" if subject.pinned else "nothing is known of it but its sha256"
    # Hardly any advisory names a file. One that does is no matter of taste: there is nothing to set.
    asked = [
        _malicious(found, "block"),
        about(
            "findings",
            same([each for each in found if not each.finding.malicious], "hold"),
            "no advisory names it",
        ),
        RuleAnswer(
            rule="fetched_by_url", answer=rules.fetched_by_url, reason=f"it was fetched from {url}; {known}"
        ),
    ]
    if subject.interpreter:
        reason = (
            f"it is Python {printable(subject.interpreter, 40)}, and whether that has known flaws is undecided: the "
            "advisory data holds nothing about CPython itself or the libraries that come inside it"
        )
        asked.append(RuleAnswer(rule="interpreter", answer=rules.interpreter, reason=reason))
    return asked


def _malicious(found: Sequence[Weighed], answer: Decision) -> RuleAnswer:
    malicious = [each for each in found if each.finding.malicious]
    return about("malicious", same(malicious, answer), "no report of malice")


def _undecided(found: Sequence[Weighed], answer: Decision) -> RuleAnswer:
    undecided = [each for each in found if each.finding.undecided]
    return about("undecided", same(undecided, answer), "every advisory could be decided")


def _known_exploited(found: Sequence[Weighed], answer: Decision, bench: Bench) -> RuleAnswer:
    flagged = [each.finding.exploited for each in found]
    return _exploitation("known_exploited", KEV, found, flagged, answer, bench)


def _exploit_probability(found: Sequence[Weighed], rule: ExploitProbability, bench: Bench) -> RuleAnswer:
    flagged = [(each.finding.exploit_probability or 0) >= rule.at_least for each in found]
    return _exploitation("exploit_probability", EPSS, found, flagged, rule.answer, bench)


def _exploitation(
    rule: str,
    catalogue: str,
    found: Sequence[Weighed],
    flagged: Sequence[bool],
    answer: Decision,
    bench: Bench,
) -> RuleAnswer:
    """Findings that the catalogue flags get the answer; where it does not serve, every other one is held."""
    if answer == "allow":
        return RuleAnswer(rule=rule, answer="allow", reason=_UNASKED)
    lacking = bench.catalogues[catalogue]
    graded: list[Graded] = [
        (each, answer if flag else "hold")
        for each, flag in zip(found, flagged, strict=True)
        if flag or lacking
    ]
    said = about(rule, graded, f"no finding that {catalogue} speaks of so")
    if lacking and said.answer == "hold":
        return said.model_copy(update={"reason": f"{lacking}, which the policy asks about {said.reason}"})
    return said


def _origin(subject: Subject, direct_url: Decision) -> RuleAnswer:
    answer: Decision = "allow"
    if subject.own_wheel:
        reason = "it is the workload's own wheel, pinned by sha256"
    elif subject.direct_url:
        url = printable(subject.direct_url, 120)
        answer, reason = direct_url, f"it came from {url}, which no package index vouches for"
    else:
        reason = "it came from the package index"
    return RuleAnswer(rule="direct_url", answer=answer, reason=reason)


def _private_name(subject: Subject, bench: Bench) -> RuleAnswer:
    name = subject.package.name
    mine = next((each for each in bench.rules.private_names if fits(each, name)), None)
    if mine is None:
        return RuleAnswer(rule="private_name", answer="allow", reason="its name is none of our own")
    if subject.own_wheel:
        reason = "it bears a name of our own, and is the workload's own wheel"
        return RuleAnswer(rule="private_name", answer="allow", reason=reason)
    reason = (
        f"{mine} is a name of our own, and this is not the workload's own wheel: somebody else's package bears it "
        "(dependency confusion)"
    )
    return RuleAnswer(rule="private_name", answer="block", reason=reason)


def _name_confusion(subject: Subject, answer: Decision, bench: Bench) -> RuleAnswer:
    rule = "name_confusion"
    if answer == "allow":
        return RuleAnswer(rule=rule, answer="allow", reason=_UNASKED)
    if subject.own_wheel:
        return RuleAnswer(rule=rule, answer="allow", reason="it is the workload's own wheel")
    if why := names.confused(subject.package.name, bench.rules.private_names):
        return RuleAnswer(rule=rule, answer=answer, reason=printable(why, 300))
    return RuleAnswer(rule=rule, answer="allow", reason="its name resembles no other that many use")
