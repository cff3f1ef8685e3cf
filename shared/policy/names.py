"""Names that are easily taken for another's: typosquatting, and confusion with names of one's own. Pure.

A name is suspicious beside a popular one, unless it is itself known, if
1. it is written the same but for hyphens and characters that look alike (0 and o, 1 and l, rn and m, vv and w),
2. it is the popular name with `python-`, `py-` or the like before or behind it, or without,
3. it is one typing mistake away: a letter too many, too few or another one, or two neighbours that changed places.

Short names are near to many others by chance, so mistakes count from a certain length on only. The names stand in
shared/data/names, where its README says what a name must have to be there, and how often this is right and wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

DATA = Path(__file__).parent.parent / "data" / "names"
LONGEST = 80
"""Characters of a name that is looked at; no popular name is nearly as long."""
_SEPARATORS = re.compile(r"[-_.]+")
_ALIKE = (("0", "o"), ("1", "l"), ("rn", "m"), ("vv", "w"))
_AFFIX = re.compile(r"^(?:python[23]?|py[23]?)-|-(?:python[23]?|py[23]?)$")
_MIN_SAME, _MIN_SWAP, _MIN_MORE, _MIN_OTHER = 4, 4, 5, 6
"""Letters that a popular name must have to be a target: of the same writing, of swapped, missing or other letters."""


@dataclass(frozen=True)
class _Targets:
    """Names that others may want to be taken for, arranged so that a question costs the same however many they are."""

    names: frozenset[str]
    written: Mapping[str, str]
    """How a name looks, to the name."""
    cores: Mapping[str, str]
    """A name without its affixes, to the name."""
    shortened: Mapping[str, tuple[str, ...]]
    """A name with one letter left out, to all names that give it."""


def confused(name: str, private: Sequence[str]) -> str:
    """Why the name of a Python project is suspicious, as a sentence part; empty if it is not.

    `private`: names of one's own, in which * stands for anything. What is such a name is not told here, only what
    resembles one.
    """
    plain = _plain(name)
    if not 2 <= len(plain) <= LONGEST:
        return ""
    if reason := _near_own(plain, tuple(_plain(each) for each in private)):
        return reason
    if plain in _known():
        return ""
    what = _resembles(plain, _popular())
    return f"its name {what}, which many projects use" if what else ""


def _near_own(name: str, private: tuple[str, ...]) -> str:
    """Similarity to names of one's own, which are seldom popular and never meant to be on a public index."""
    exact = frozenset(each for each in private if "*" not in each)
    stems = {each.partition("*")[0] for each in private if "*" in each}
    if name in exact or any(name.startswith(stem) for stem in stems if stem):
        return ""
    what = _resembles(name, _targets(exact)) if exact else ""
    for stem in sorted(stems):
        # What begins almost as all names of one's own begin.
        if len(stem) >= _MIN_MORE and not what:
            heads = (name[: len(stem) + more] for more in (-1, 0, 1) if len(name) > len(stem) + more)
            found = next((mistake for head in heads if (mistake := _mistake(head, stem))), "")
            what = f"begins {found} {stem}" if found else ""
    return f"its name {what}, a name of your own" if what else ""


def _resembles(name: str, targets: _Targets) -> str:
    """How the name resembles one of the targets, and which; empty if it resembles none or is one."""
    if name in targets.names:
        return ""
    if same := targets.written.get(_written(name)):  # 1
        return f"is written like {same}"
    core = _core(name)
    if (other := targets.cores.get(core)) and len(core) >= _MIN_SAME:  # 2
        return f"is that of {other} but for what stands before or behind it"
    shorter = _shorter(name)
    near = {other for each in (name, *shorter) for other in targets.shortened.get(each, ())}
    near |= targets.names.intersection(shorter)
    for other in sorted(near):  # 3
        if mistake := _mistake(name, other):
            return f"is {mistake} {other}"
    return ""


def _mistake(name: str, other: str) -> str:
    """The one typing mistake between two names, in words; empty if they are the same, or further apart."""
    longer, shorter = (name, other) if len(name) > len(other) else (other, name)
    at = next((i for i, (a, b) in enumerate(zip(longer, shorter, strict=False)) if a != b), len(shorter))
    if len(longer) == len(shorter) + 1 and longer[at + 1 :] == shorter[at:]:
        return "one letter away from" if len(other) >= _MIN_MORE else ""
    if len(longer) != len(shorter) or name == other:
        return ""
    if name[at : at + 2] == other[at : at + 2][::-1] and name[at + 2 :] == other[at + 2 :]:
        return "two swapped letters away from"
    if name[at + 1 :] == other[at + 1 :] and len(other) >= _MIN_OTHER:
        return "one letter away from"
    return ""


def _plain(name: str) -> str:
    """As PEP 503 normalizes it."""
    return _SEPARATORS.sub("-", name[: LONGEST + 1]).lower().strip("-")


def _written(name: str) -> str:
    for this, that in _ALIKE:
        name = name.replace(this, that)
    return name.replace("-", "")


def _core(name: str) -> str:
    return _AFFIX.sub("", name)


def _shorter(name: str) -> set[str]:
    return {name[:i] + name[i + 1 :] for i in range(len(name))}


@lru_cache(8)
def _targets(names: frozenset[str]) -> _Targets:
    shortened: dict[str, list[str]] = {}
    for name in names:
        for each in _shorter(name) if len(name) >= _MIN_SWAP else ():
            shortened.setdefault(each, []).append(name)
    return _Targets(
        names=names,
        written={_written(name): name for name in sorted(names, reverse=True) if len(name) >= _MIN_SAME},
        cores={_core(name): name for name in sorted(names, reverse=True)},
        shortened={key: tuple(each) for key, each in shortened.items()},
    )


@lru_cache(1)
def _popular() -> _Targets:
    return _targets(frozenset(_read("popular.txt", "wellknown.txt")))


@lru_cache(1)
def _known() -> frozenset[str]:
    """Names that are nobody's imitation."""
    return _popular().names.union(_read("known.txt", "distinct.txt"))


def _read(*files: str) -> Iterable[str]:
    for file in files:
        for line in (DATA / file).read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                yield from line.split()
