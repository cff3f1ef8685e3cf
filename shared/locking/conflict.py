"""Why nothing takes the place of a refused package, as the smallest conflict, in one sentence.

What was asked for in vain are parts: what the workload wants, its constraints, what its own wheels require, and per
package what is refused. The smallest conflict is a set of them of which none can be left out: without any one of them
there would be an answer. It is found by leaving out (Zeller and Hildebrandt, "Simplifying and Isolating
Failure-Inducing Input", 2002), first of all what the resolver's own explanation does not name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shared.errors import Permanent
from shared.locking.changes import few, speaking
from shared.locking.needs import holds, required_by, requirements, way
from shared.locking.search import Search
from shared.model.manifest import PythonPackage
from shared.model.requirement import readable
from shared.model.verdict import Verdict

_CALLS = 20
"""Questions to the resolver, at most; past them a conflict may be shown larger than it had to be."""
_VERSIONS = 4
_WORDS = 400
"""Characters of the resolver's explanation, where there is nothing better."""
Claims = Mapping[str, PythonPackage]
Refused = Mapping[str, Verdict]


@dataclass(frozen=True)
class Part:
    """Something that an answer has to respect."""

    kind: Literal["wanted", "constraint", "own", "refusal"]
    name: str
    """Of the package that it is about."""
    line: str
    """What is asked of the resolver, or the workload's own line."""
    limits: tuple[str, ...] = ()


def sentence(
    search: Search,
    claims: Claims,
    refused: Refused,
    candidates: Mapping[str, Sequence[str]],
    words: str,
) -> str:
    """The sentence for `search`, which found nothing; `words` are the resolver's."""
    none_left = [name for name in refused if not candidates[name] and name in search.roots]
    if none_left:
        return no_way_out(none_left[0], claims, refused, _none_admitted(search, claims[none_left[0]]))
    found = _conflict(search, claims, refused, candidates)
    subject = next((name for name in refused if name in {p.name for p in found if p.kind == "refusal"}), "")
    if not subject:
        first = next(iter(refused))
        why = f"no admitted version fits the others: {_short(words)}"
        return no_way_out(first, claims, refused, why)
    versions = candidates[subject]
    if not versions:
        why = _none_admitted(search, claims[subject])
    else:
        ones = "the admitted one," if len(versions) == 1 else "the admitted ones,"
        why = f"{ones} {few(versions, _VERSIONS)},"
    named = {part.name for part in found if part.kind == "refusal"}
    culprits = [part for part in found if part.name not in (named if part.kind == "wanted" else (subject,))]
    culprits += [part for part in found if part.name == subject and part.kind in ("constraint", "own")]
    telling = [part for part in culprits if not _admits_all(part, subject, versions, claims, search)]
    shown = telling or culprits
    if shown:
        said = " and ".join(_said(part, subject, claims, refused, search) for part in shown)
        joined = f"{'is' if len(versions) == 1 else 'are'} excluded by" if versions else "and it is wanted by"
        why = f"{why} {joined} {said}"
    elif versions:
        why = f"{why} fit nothing that can be had: {_short(words)}"
    return no_way_out(subject, claims, refused, why, _remedies(shown))


def no_way_out(name: str, claims: Claims, refused: Refused, why: str, remedies: Sequence[str] = ()) -> str:
    """That `name` is refused and cannot be replaced, who needs it, why, and what to do."""
    verdict = refused[name]
    wanted = few(required_by(name, claims.values()))
    others = [claims[other].package().purl for other in refused if other != name]
    also = f" Refused as well: {few(others)}." if others else ""
    ids = speaking(verdict)
    choices = [*(remedies or ["change the workload's requirements"])]
    choices.append(f"waive {few(ids)}" if ids else "change the policy")
    if verdict.until:
        choices.append(f"wait until {verdict.until}")
    return (
        f"{claims[name].package().purl} is refused ({verdict.reason}), needed by {wanted}, and it cannot be "
        f"replaced: {why.rstrip('.')}; {', '.join(choices[:-1])} or {choices[-1]}.{also}"
    )


def smallest(parts: Sequence[Part], fits: Callable[[Sequence[Part]], bool], calls: int) -> list[Part]:
    """Parts that do not fit and of which none can be left out, after `calls` questions at most; `parts` do not fit."""
    kept = list(parts)
    size = (len(kept) + 1) // 2
    while size:
        at = 0
        while at < len(kept) and len(kept) > 1:
            if not calls:
                return kept
            calls -= 1
            rest = kept[:at] + kept[at + size :]
            if rest and not fits(rest):
                kept = rest
            else:
                at += size
        size = (size + 1) // 2 if size > 1 else 0
    return kept


def _conflict(
    search: Search, claims: Claims, refused: Refused, candidates: Mapping[str, Sequence[str]]
) -> list[Part]:
    """The smallest conflict; empty if the question that failed has an answer after all."""
    explained: list[str] = []

    def fits(parts: Sequence[Part]) -> bool:
        asked = [part.line for part in parts if part.kind in ("wanted", "own")]
        limits = [part.line for part in parts if part.kind == "constraint"]
        try:
            search.resolve(asked, [*limits, *(limit for part in parts for limit in part.limits)])
        except Permanent as error:
            explained.append(str(error))
            return False
        return True

    parts = list(_parts(search, claims, refused, candidates))
    if fits(parts):
        return []
    words = set(re.findall(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?", explained[0].lower()))
    names = {canonicalize_name(word) for word in words}
    named = [part for part in parts if part.name in names]
    calls = _CALLS - 2
    if len(named) < len(parts) and named and not fits(named):
        parts = named
    return smallest(parts, fits, calls)


def _parts(
    search: Search, claims: Claims, refused: Refused, candidates: Mapping[str, Sequence[str]]
) -> Iterable[Part]:
    """In the order in which they are left out: what matters least for the reader first.

    That a refused package is replaced and not dropped is asked for wherever it can be: the sentence is to say what is
    in the way of that. It also spares the resolver every version there ever was of what needs the package.
    """
    for package in search.stays:
        if package.name in search.roots:
            yield Part("wanted", package.name, search.open_requirement(package))
    for name in reversed(list(refused)):
        if name in search.roots or candidates[name]:
            yield Part("wanted", name, search.open_requirement(claims[name]))
    # What is no requirement stands in the resolver's own words.
    for line, needed in readable(search.own_needs()):
        yield Part("own", canonicalize_name(needed.name), line)
    for line, bound in readable(search.constraints):
        yield Part("constraint", canonicalize_name(bound.name), line)
    last = {name: at for at, name in enumerate(reversed(list(refused)), 1)}
    for name in sorted(search.bans, key=lambda name: (last.get(name, 0), name)):
        if search.bans[name]:
            yield Part("refusal", name, "", tuple(search.banned(name)))


def _admits_all(part: Part, subject: str, versions: Sequence[str], claims: Claims, search: Search) -> bool:
    """Whether a part only says that the subject is needed, in a version that the admitted ones are."""
    if part.kind != "wanted":
        return False
    steps = way(part.name, subject, claims, search.offer.python)
    if len(steps) < 2:
        return False
    last = _requirement(claims[steps[-2]], subject, search)
    return last is not None and all(last.specifier.contains(each, prereleases=True) for each in versions)


def _requirement(package: PythonPackage, name: str, search: Search) -> Requirement | None:
    asked = [
        wanted
        for wanted in requirements(package)
        if canonicalize_name(wanted.name) == name and holds(wanted, search.offer.python)
    ]
    return asked[0] if asked else None


def _said(part: Part, subject: str, claims: Claims, refused: Refused, search: Search) -> str:
    match part.kind:
        case "constraint":
            return f"{part.line}, a constraint of the workload"
        case "own":
            mine = next(each for each in search.own if part.line in each.requires)
            return f"{part.line}, which the workload's own wheel {mine.name} requires"
        case "refusal":
            return _refusal(part.name, claims, refused, search)
    steps = way(part.name, subject, claims, search.offer.python)
    if len(steps) < 2:
        return f"{part.name}, in every version that can be had"
    wanted = _requirement(claims[steps[-2]], subject, search)
    line = f"{wanted.name}{wanted.specifier}" if wanted else subject
    named = f"{steps[-2]} {claims[steps[-2]].version}, which requires {line}"
    return f"{named} and is there for {part.name}" if len(steps) > 2 else named


def _refusal(name: str, claims: Claims, refused: Refused, search: Search) -> str:
    if name in refused:
        return f"the refusal of {name} {claims[name].version} ({refused[name].reason})"
    judged = search.offer.judged(name)
    against = [(version, judged.get(version, "")) for version in search.bans[name]]
    version, why = against[-1]
    other = f" and {len(against) - 1} more versions" if len(against) > 1 else ""
    return f"the refusal of {name} {version}{other} ({why})"


def _none_admitted(search: Search, claim: PythonPackage) -> str:
    """With the newest version of all, and what speaks against it."""
    judged = search.offer.judged(claim.name)
    newest = next(((version, why) for version, why in reversed(list(judged.items())) if why), None)
    if newest is None or newest[0] == claim.version:
        return "no version of it is admitted"
    return f"no version of it is admitted, the newest, {newest[0]}, is refused as well ({_short(newest[1])})"


def _remedies(parts: Sequence[Part]) -> list[str]:
    said = []
    if any(part.kind == "constraint" for part in parts):
        said.append("loosen that constraint")
    if owners := [part.line for part in parts if part.kind == "own"]:
        said.append(f"change what requires {few(owners)}")
    if wanted := [part.name for part in parts if part.kind == "wanted"]:
        said.append(f"do without {few(wanted)}")
    return said


def _short(words: str) -> str:
    """The first sentence of the resolver's explanation."""
    first = re.split(r"\.\s", words)[0].rstrip(". ")
    return first if len(first) <= _WORDS else f"{first[:_WORDS].rsplit(' ', 1)[0]} …"
