"""Names that resemble others: real imitations are found, real projects are left alone, no text breaks it."""

from __future__ import annotations

import pytest

from shared.data.names import collect
from shared.policy.names import DATA, LONGEST, confused
from tests.benchmarks.bench_scan import PACKAGES

# Packages that PyPI removed for malice, each reported in public between 2017 and 2025.
IMITATIONS = """
acqusition aiiohttp aiohtttp beautifulsup4 colorara coloroma colotama colourama colurama cryptograohy cryptographz
dequests diango djago djanga djangoo faiss-gp fequests flsak gequests huggingface-hubs importlib-metadate jeIlyfish
mumpy openvc pckaging pyautogiu pygaem python-dateuti python-flask python-openssl python3-dateutil pytorch-lighting
pytroch r3quests req7ests reqeusts requ-sts requesfs requeste requestw requets requzsts reuquests rfquests s4transfer
seabonr selenim selemium setup-tools simplyjson sphinx-rdt-theme tensrflow tensorfllow tequests termncolor urlib3
virtualnv
"""


def names(file: str) -> list[str]:
    lines = (DATA / file).read_text().splitlines()
    return [name for line in lines if not line.startswith("#") for name in line.split()]


def test_real_imitations_are_found() -> None:
    missed = [name for name in IMITATIONS.split() if not confused(name, ())]
    # What the first imitates nobody has installed; the second is too short to tell; the third changes two things.
    assert missed == ["acqusition", "mumpy", "python-openssl"]


def test_real_projects_are_not_called_imitations() -> None:
    real = [line.split("==")[0] for line in PACKAGES.split()]
    assert len(real) == 240
    wrong = {name: why for name in real if (why := confused(name, ()))}
    assert wrong == {}


@pytest.mark.parametrize("file", ["popular.txt", "wellknown.txt", "known.txt", "distinct.txt"])
def test_names_of_the_lists_are_not_suspicious(file: str) -> None:
    held = names(file)
    assert len(set(held)) == len(held) >= 20
    assert [name for name in held if confused(name, ())] == []


@pytest.mark.parametrize("file", ["popular.txt", "wellknown.txt", "known.txt", "distinct.txt"])
def test_the_lists_have_as_many_names_as_is_said(file: str) -> None:
    assert f"| `{file}` | {len(names(file)):,} |" in (DATA / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("requestss", "is one letter away from requests"),
        ("rrequests", "is one letter away from requests"),
        ("requsts", "is one letter away from requests"),
        ("requestz", "is one letter away from requests"),
        ("reqeusts", "is two swapped letters away from requests"),
        ("Re_Quests", "is written like requests"),
        ("c0l0rama", "is written like colorama"),
        ("tensorf1ow", "is written like tensorflow"),
        ("rnatplotlib", "is written like matplotlib"),
        ("scikitlearn", "is written like scikit-learn"),
        ("requests-python", "is that of requests but for what stands before or behind it"),
        ("py3-requests", "is that of requests but for what stands before or behind it"),
        ("dateutil", "is that of python-dateutil but for what stands before or behind it"),
    ],
)
def test_each_way_to_resemble(name: str, why: str) -> None:
    assert confused(name, ()) == f"its name {why}, which many projects use"


@pytest.mark.parametrize(
    "name",
    [
        "requests",
        "Requests",
        "reque.sts.core",
        "quests",
        "numexpr2x",
        "nunpi",
        "sx",
        "sxi",
        "p-ip",
        "python-six",
    ],
)
def test_what_resembles_nothing(name: str) -> None:
    assert confused(name, ()) == ""


OWN = ("acme-billing", "Acme_Ledger", "acmecorp-*", "x-*")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("acme-biling", "is one letter away from acme-billing"),
        ("acme-ledgre", "is two swapped letters away from acme-ledger"),
        ("acmebilling", "is written like acme-billing"),
        ("acme-billing-py", "is that of acme-billing but for what stands before or behind it"),
        ("acmecrop-auth", "begins two swapped letters away from acmecorp-"),
        ("acmecorps-auth", "begins one letter away from acmecorp-"),
        ("acmecrp-auth", "begins one letter away from acmecorp-"),
    ],
)
def test_what_resembles_a_name_of_ones_own(name: str, why: str) -> None:
    assert confused(name, OWN) == f"its name {why}, a name of your own"
    assert confused(name, ()) == ""


@pytest.mark.parametrize(
    "name", ["acme-billing", "acme.ledger", "acmecorp-auth", "acmecorp", "y-auth", "requests"]
)
def test_names_of_ones_own_and_of_others_are_no_imitation_of_them(name: str) -> None:
    assert confused(name, OWN) == ""


def test_a_popular_name_beside_ones_own_is_suspicious_all_the_same() -> None:
    assert (
        confused("requests", ("request",)) == "its name is one letter away from request, a name of your own"
    )


@pytest.mark.parametrize(
    "name",
    ["", "-", "-" * 500, "a" * 100_000, "rеquests", "日本", "\ud800x", "req\nuests", "\x00" * 9, "İ" * 80],
)
def test_no_text_breaks_it(name: str) -> None:
    for private in ((), OWN, ("*", "**", "", "\ud800*"), (name,)):
        assert isinstance(confused(name, private), str)


def test_a_letter_of_another_script_is_another_letter() -> None:
    assert (
        confused("r\u0435quests", ()) == "its name is one letter away from requests, which many projects use"
    )


def test_the_longest_name_that_is_looked_at() -> None:
    private = ("p" * LONGEST,)
    assert confused("p" * (LONGEST - 1) + "q", private)
    assert confused("p" * LONGEST + "q", private) == ""


def test_who_uses_a_package_is_read_from_an_index() -> None:
    fallback = ["Foo_Bar python3-foo", "baz python3-baz", "tool tool"]
    by_package = collect.distributions(fallback)
    assert by_package == {"python3-foo": {"foo-bar"}, "python3-baz": {"baz"}, "tool": {"tool"}}
    stanzas = [
        {"Package": "a", "Depends": "python3-foo (>= 1), python3-baz | x"},
        {"Package": "a-doc", "Source": "a (1.0)", "Suggests": "python3-foo"},
        {"Package": "b", "Build-Depends": "python3-foo:any <!nocheck>,\n python3-foolish"},
    ]
    assert collect.uses(stanzas, by_package) == {"python3-foo": {"a", "b"}, "python3-baz": {"a"}}
