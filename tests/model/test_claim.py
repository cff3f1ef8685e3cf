"""A machine's claim: single packages that are none are set aside, and nothing else is forgiven."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import Permanent
from shared.model import claim
from shared.model.manifest import ClaimedManifest
from shared.model.unreadable import MOST, Unreadable, shown
from tests.support.claims import debian, environment, manifest, python
from tests.support.market import TRIXIE, Market

NAME = "t\N{CYRILLIC SMALL LETTER O}ol"


@pytest.fixture
def raw() -> dict[str, Any]:
    bash, dash = Market().deb("bash", "5.2-1"), Market().deb("dash", "0.5-1")
    place = environment(python("lib", "1.0"), python("app", "1.0"))
    text = manifest([debian(bash), debian(dash)], place).model_dump_json(exclude={"unreadable"})
    return dict(json.loads(text))


def read(raw: dict[str, Any]) -> ClaimedManifest:
    return claim.read(json.dumps(raw).encode(), "The claim")


def first(raw: dict[str, Any], ecosystem: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = (
        raw["debian"] if ecosystem == "debian" else raw["environments"][0]["packages"]
    )
    return found[0]


MISTAKES: dict[str, tuple[str, dict[str, Any], str]] = {
    "name": ("pypi", {"name": NAME}, "its name: a Python package's name"),
    "version": ("pypi", {"version": "1" * 10_000}, "its version: a Python version"),
    "tag": ("pypi", {"tags": ["py3"]}, "its tags.0: "),
    "requirement": ("pypi", {"requires": ["x" * 10_000]}, "its requires.0: "),
    "build": ("pypi", {"build": "x"}, "its build: "),
    "URL": ("pypi", {"direct_url": {"url": "x" * 10_000}}, "its direct_url.url: "),
    "half a character": ("pypi", {"version": "1\ud800"}, "it holds half a character"),
    "Debian's name": ("debian", {"name": NAME}, "its name: a Debian name"),
    "Debian's version": ("debian", {"version": "1" * 10_000}, "its version: a Debian version"),
    "an epoch of eleven digits": ("debian", {"version": f"{'1' * 11}:1"}, "its version: a Debian version"),
    "source": ("debian", {"source_name": "../x"}, "its source_name: a Debian name"),
}


@pytest.mark.parametrize(("ecosystem", "fields", "why"), MISTAKES.values(), ids=MISTAKES)
def test_a_package_that_is_none_is_set_aside(
    raw: dict[str, Any], ecosystem: str, fields: dict[str, Any], why: str
) -> None:
    first(raw, ecosystem).update(fields)
    found = read(raw)
    (aside,) = found.unreadable
    assert (aside.ecosystem, aside.path) == (ecosystem, "/opt/w" if ecosystem == "pypi" else None)
    assert aside.why.startswith(why)
    assert aside.reason.isascii()
    assert aside.reason.isprintable()
    assert len(aside.reason) < 500
    kept = [each.name for each in (*found.debian, *found.environments[0].packages)]
    assert kept == (["bash", "dash", "app"] if ecosystem == "pypi" else ["dash", "lib", "app"])
    package = aside.package(TRIXIE)
    assert package.name.startswith("unreadable-")
    assert (package.version, package.ecosystem) == ("0", ecosystem)
    assert ClaimedManifest.read(found.canonical(), "The stored claim") == found


NOT_OURS: dict[str, dict[str, Any]] = {
    "a field is missing": {"in_base": None},
    "a field too many": {"more": 1},
    "another type": {"version": 1},
    "no text": {"name": None},
    "a mark that is none": {"in_base": "yes"},
}


@pytest.mark.parametrize("fields", NOT_OURS.values(), ids=NOT_OURS)
def test_what_the_guest_would_never_write_ends_the_whole(raw: dict[str, Any], fields: dict[str, Any]) -> None:
    package = first(raw, "pypi")
    package.update({"name": NAME} | fields)
    if fields == {"in_base": None}:
        del package["in_base"]
    with pytest.raises(Permanent, match=r"The claim is not valid"):
        read(raw)


def test_a_strange_package_excuses_nothing_else(raw: dict[str, Any]) -> None:
    first(raw, "pypi")["name"] = NAME
    for change in ({"workload": "../x"}, {"release": {}}, {"more": 1}):
        with pytest.raises(Permanent, match=r"The claim is not valid"):
            read(raw | change)
    text = json.dumps(raw)
    with pytest.raises(Permanent):
        claim.read(text.replace('"debian": [', '"debian": [], "debian": [', 1).encode(), "The claim")


def test_no_machine_says_itself_what_nobody_can_read(raw: dict[str, Any]) -> None:
    strange = json.loads(json.dumps(raw))
    first(strange, "pypi")["name"] = NAME
    own = [each.model_dump(mode="json") for each in read(strange).unreadable]
    for lie in (raw, strange):
        with pytest.raises(Permanent):
            read(lie | {"unreadable": own})


def test_there_is_an_end_to_what_is_set_aside(raw: dict[str, Any]) -> None:
    packages = raw["environments"][0]["packages"]
    packages += [packages[0] | {"name": f"{NAME}{n}"} for n in range(MOST)]
    assert len(read(raw).unreadable) == MOST
    packages.append(packages[0] | {"name": f"{NAME}-"})
    with pytest.raises(Permanent, match=r"it has 1001 mistakes|is not valid"):
        read(raw)


def test_what_is_shown_is_short_and_plain() -> None:
    assert shown(NAME) == r"t\u043eol"
    assert shown("a\x1b[31m\n") == r"a\x1b[31m\n"
    assert shown("1" * 10_000) == "1" * 57 + "..."
    assert len(shown("\N{CYRILLIC SMALL LETTER O}" * 60)) == 60


def test_equal_letters_of_different_packages_do_not_make_them_one(raw: dict[str, Any]) -> None:
    packages = raw["environments"][0]["packages"]
    packages += [packages[0] | {"version": "1" * 9_999 + end} for end in "12"]
    one, two = read(raw).unreadable
    assert (one.name, one.version) == (two.name, two.version)
    assert one.package(TRIXIE).purl != two.package(TRIXIE).purl
    assert isinstance(one, Unreadable)
