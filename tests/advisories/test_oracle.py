"""Real records against a second, naive evaluation: OSV's pseudo-code as its page has it, dpkg's comparison as Debian's
policy has it. Nothing of `shared.advisories` but the answers.

https://ossf.github.io/osv-schema/#evaluation, https://www.debian.org/doc/debian-policy/ch-controlfields.html#version
"""

from __future__ import annotations

import json
import random
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable
from functools import cmp_to_key
from pathlib import Path
from typing import Any

import pytest
from packaging.version import InvalidVersion, Version

from shared.advisories.match import Query, records_about
from shared.advisories.zips import ZipAdvisories
from tests.advisories.test_snapshot import SNAPSHOT

Compare = Callable[[str, str], int]
"""Raises ValueError for what is no version."""


def pep440(a: str, b: str) -> int:
    x, y = Version(a), Version(b)
    return (x > y) - (x < y)


def dpkg(a: str, b: str) -> int:
    def split(version: str) -> tuple[int, str, str]:
        if not re.fullmatch(r"([0-9]+:)?[0-9A-Za-z.+~:-]+", version):
            raise ValueError(version)
        epoch, _, rest = version.rpartition(":") if re.match(r"[0-9]+:", version) else ("0", "", version)
        upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
        return int(epoch), upstream, revision

    def order(character: str) -> int:
        if not character or character.isdigit():
            return 0
        return -1 if character == "~" else ord(character) + (0 if character.isalpha() else 256)

    def part(x: str, y: str) -> int:
        while x or y:
            while (x and not x[0].isdigit()) or (y and not y[0].isdigit()):
                if (difference := order(x[:1]) - order(y[:1])) != 0:
                    return difference
                x, y = x[1:], y[1:]
            digits = [re.match("[0-9]*", text) for text in (x, y)]
            left, right = (found[0] if found else "" for found in digits)
            if (difference := int(left or 0) - int(right or 0)) != 0:
                return difference
            x, y = x[len(left) :], y[len(right) :]
        return 0

    (e1, u1, r1), (e2, u2, r2) = split(a), split(b)
    return (e1 - e2) or part(u1, u2) or part(r1, r2)


def affects(raw: dict[str, Any], query: Query, name: Callable[[str], str], compare: Compare) -> bool:
    """The pseudo-code; ValueError where a version of it cannot be read."""

    def at_or_above(version: str, event: str) -> bool:
        return event == "0" or compare(version, event) >= 0

    def within(version: str, found: dict[str, Any]) -> bool:
        limits = [event["limit"] for event in found["events"] if "limit" in event]
        if limits and not any(limit == "*" or compare(version, limit) < 0 for limit in limits):
            return False

        def order(left: dict[str, str], right: dict[str, str]) -> int:
            (a,), (b,) = left.values(), right.values()
            return (a != "0") - (b != "0") if "0" in (a, b) else compare(a, b)

        vulnerable = False
        for event in sorted((e for e in found["events"] if "limit" not in e), key=cmp_to_key(order)):
            ((kind, at),) = event.items()
            if kind == "introduced" and at_or_above(version, at):
                vulnerable = True
            elif (kind == "fixed" and at_or_above(version, at)) or (
                kind == "last_affected" and compare(version, at) > 0
            ):
                vulnerable = False
        return vulnerable

    def listed(version: str, entry: dict[str, Any]) -> bool:
        for other in entry.get("versions") or ():
            if other == version:
                return True
            try:
                if compare(other, version) == 0:
                    return True
            except ValueError:
                continue
        return False

    return not raw.get("withdrawn") and any(
        listed(query.version, entry)
        or any(within(query.version, found) for found in entry.get("ranges") or () if found["type"] != "GIT")
        for entry in raw.get("affected") or ()
        if "package" in entry
        and entry["package"]["ecosystem"].removesuffix(":LTS") == query.ecosystem
        and name(entry["package"]["name"]) == query.name
    )


def disagreements(directory: Path, ecosystem: str, count: int, seed: int) -> tuple[int, list[str]]:
    """(questions that both decided, those that they decided differently) over `count` random packages."""
    chance = random.Random(seed)  # noqa: S311 - a sample that is the same every time
    python = ecosystem == "PyPI"
    compare: Compare = pep440 if python else dpkg

    def name(text: str) -> str:
        return re.sub(r"[-_.]+", "-", text).lower() if python else text

    about: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    with zipfile.ZipFile(directory / ecosystem / "all.zip") as archive:
        for member in archive.namelist():
            raw = json.loads(archive.read(member))
            for package in {
                (entry["package"]["ecosystem"].removesuffix(":LTS"), name(entry["package"]["name"]))
                for entry in raw.get("affected") or ()
                if "package" in entry and entry["package"]["ecosystem"].partition(":")[0] == ecosystem
            }:
                about[package].append(raw)
    chosen = chance.sample(sorted(about), min(count, len(about)))
    queries = {
        Query(*package, version)
        for package in chosen
        for version in _versions(about[package], python, chance)
    }
    answers = records_about(queries, ZipAdvisories(directory).reading(ecosystem, queries))
    decided, wrong = 0, []
    for query in sorted(queries, key=lambda one: (one.ecosystem, one.name, one.version)):
        expected: dict[str, bool] = {}
        for raw in about[query.ecosystem, query.name]:
            try:
                expected[raw["id"]] = affects(raw, query, name, compare)
            except (ValueError, InvalidVersion):
                expected.pop(raw["id"], None)
        said = answers[query]
        for id, affected in expected.items():
            if id in said.undecided:
                continue
            decided += 1
            if affected != (id in said.affected):
                wrong.append(f"{id} {query.name} {query.version}: {affected} expected")
    return decided, wrong


def _versions(raws: list[dict[str, Any]], python: bool, chance: random.Random) -> set[str]:
    """Versions that the records name, and such as lie a little beside them."""
    named = {
        text
        for raw in raws
        for entry in raw["affected"]
        for text in (
            *(entry.get("versions") or ()),
            *(
                v
                for found in entry.get("ranges") or ()
                if found["type"] != "GIT"
                for e in found["events"]
                for v in e.values()
            ),
        )
    }
    some = chance.sample(sorted(named), min(6, len(named)))
    suffixes = (
        ("", ".post1", ".dev1", "rc1", ".0", ".0.1") if python else ("", "~", "+b1", ".1", "~deb13u1", "-0")
    )
    wished = {text + chance.choice(suffixes) for text in some} | {chance.choice(("0", "0.0.1", "999"))}
    return {text for text in wished if _readable(text, python)}


def _readable(text: str, python: bool) -> bool:
    try:
        (pep440 if python else dpkg)(text, "1")
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("ecosystem", ["PyPI", "Debian"])
def test_real_records_are_evaluated_as_the_pseudo_code_does(ecosystem: str) -> None:
    decided, wrong = disagreements(SNAPSHOT, ecosystem, 250, 4)
    assert wrong == []
    assert decided > 3000
