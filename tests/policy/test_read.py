"""Policies from YAML: those that come with the project, and every mistake with its line and its reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Permanent
from shared.model import policy as model
from shared.model.policy import Policy
from shared.policy.read import BUILT_IN, built_in, find, parse, read

TEXT = (BUILT_IN / "default.yaml").read_text()


def changed(*pairs: tuple[str, str]) -> bytes:
    """The default policy with each left text, which stands there, replaced by the right one."""
    text = TEXT
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text.encode()


def line(text: str, nth: int = 0) -> int:
    """Where `text` stands in the default policy."""
    return TEXT[: [found.start() for found in re.finditer(re.escape(text), TEXT)][nth]].count("\n") + 1


def test_the_default_policy() -> None:
    policy = find("default")
    assert policy.max_advisory_age_hours == 72
    python, debian = policy.pypi, policy.debian
    assert (python.severity.block, python.unknown_severity, python.malicious) == ("HIGH", "block", "block")
    assert (python.undecided, python.direct_url, python.source_distribution) == ("hold", "block", "allow")
    assert python.cooldown.days == 0  # what passes must not change with the calendar
    assert (debian.fix_available, debian.undecided, debian.malicious) == ("block", "hold", "block")
    assert (debian.unfixed.hold, debian.unfixed.block, debian.unfixed.unknown_severity) == (
        "never",
        "never",
        "allow",
    )


def test_the_offline_policy_is_the_default_but_for_what_needs_a_network() -> None:
    default, offline = find("default"), find("offline")
    assert offline.max_advisory_age_hours is None
    assert "weaker" in offline.description
    of_a_network = {"known_exploited": "allow", "exploit_probability": offline.pypi.exploit_probability}
    assert offline.pypi.exploit_probability.answer == "allow"
    assert offline.pypi == default.pypi.model_copy(update=of_a_network)
    assert offline.debian == default.debian.model_copy(update=of_a_network)
    assert offline.generic == default.generic


def test_every_policy_is_found_under_its_own_name() -> None:
    assert {"default", "offline"} <= set(built_in())
    assert all(find(name).name == name for name in built_in())
    assert find(str(BUILT_IN / "default.yaml")) == find("default")


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "is empty, and must be a mapping with at least"),
        (b"# nothing\n", "must be a mapping with at least"),
        (b"- allow", "must be a mapping"),
        (b"allow", "must be a mapping"),
        (b"name: [", "is not YAML"),
        (b"name: \xff", "is not YAML"),
        (b"name: default\nname: other", "the key 'name' stands twice in line 2"),
        (b"a: &a {b: 1}\nc: *a", "an alias is not read"),
        (b"name: !!python/object/apply:os.getcwd []", "is not YAML"),
        (b"[" * 100_000, "nested too deeply"),
        (b"a: " + b"[" * 900, "is not YAML|nested too deeply"),
        (b"a: .nan", "JSON cannot"),
        (b"1: {[a]: b}", "is not YAML"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_policy_at_all(data: bytes, word: str) -> None:
    with pytest.raises(Permanent, match=word) as caught:
        parse(data, "The policy file p.yaml")
    assert str(caught.value).startswith("The policy file p.yaml ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


PYPI_SEVERITY = "severity: {hold: never, block: HIGH}"
LICENCES = 'licences: {allow: ["*"], deny: [], refused: block, unknown: allow}'
ONE_MISTAKE = [
    ("a rule is missing", [("  yanked: allow\n", "")], "pypi:", 0, "pypi.yanked is missing"),
    ("an unknown rule", [("yanked:", "yankd: hold\n  yanked:")], "yanked", 0, "there is no such field"),
    ("an unknown part", [("days: 0,", "days: 0, weeks: 1,")], "cooldown", 0, "pypi.cooldown.weeks"),
    ("an empty rule", [("yanked: allow", "yanked:")], "yanked", 0, "pypi.yanked is empty"),
    ("a rule that is null", [("direct_url: block", "direct_url: null")], "direct_url", 0, "is empty"),
    ("an empty section", [("workloads: {}", "workloads:")], "workloads", 0, "workloads is empty"),
    ("an answer", [("yanked: allow", "yanked: maybe")], "yanked", 0, "'allow', 'hold' or 'block'"),
    ("an answer that YAML turns", [("yanked: allow", "yanked: no")], "yanked", 0, "'hold' or 'block'"),
    ("undecided is never clean", [("undecided: hold", "undecided: allow")], "undecided", 0, "'hold'"),
    ("a severity", [("block: HIGH", "block: high")], PYPI_SEVERITY, 0, "pypi.severity.block"),
    ("order", [("hold: never, block: HIGH", "hold: HIGH, block: HIGH")], PYPI_SEVERITY, 0, "below block"),
    ("a chance", [("at_least: 0.5, answer", "at_least: 1.5, answer")], "at_least", 0, "less than or equal"),
    ("days", [("days: 0", "days: -1")], "cooldown", 0, "greater than or equal to 0"),
    ("days as text", [("days: 0", 'days: "7"')], "cooldown", 0, "pypi.cooldown.days"),
    ("a licence", [("deny: []", "deny: [GPL]")], LICENCES, 0, "its id of the SPDX list"),
    ("no licence", [('allow: ["*"]', "allow: []")], LICENCES, 0, "at least 1 item"),
    ("an expression", [("deny: []", 'deny: ["MIT OR GPL-2.0-only"]')], LICENCES, 0, "one licence per entry"),
    ("deny all", [("deny: []", 'deny: ["*"]')], LICENCES, 0, "would refuse every package"),
    ("every name", [("private_names: []", 'private_names: ["*"]')], "private_names", 0, "every package"),
    ("a spelling", [("private_names: []", "private_names: [Acme_x]")], "private_names", 0, "pattern"),
    ("hours", [("hours: 72", "hours: 0")], "max_advisory", 0, "greater than or equal to 1"),
    ("hours as text", [("hours: 72", 'hours: "72"')], "max_advisory", 0, "valid integer"),
    ("any age", [("hours: 72", "hours: null")], "max_advisory", 0, "whose name says offline"),
    ("a name", [("name: default", "name: No Spaces")], "name: default", 0, "should match pattern"),
    ("a format", [("policy/v2", "policy/v1")], "format", 0, "package-dmz/policy/v2"),
    (
        "a pattern",
        [("packages: []", "packages: [{purl: pkg:npm/x, answer: hold, reason: y}]")],
        "packages: []",
        0,
        "begins with pkg:pypi/",
    ),
    (
        "no reason",
        [("packages: []", "packages: [{purl: pkg:pypi/x, answer: hold}]")],
        "packages: []",
        0,
        "packages.0.reason is missing",
    ),
    (
        "a blank reason",
        [("packages: []", 'packages: [{purl: pkg:pypi/x, answer: hold, reason: " "}]')],
        "packages: []",
        0,
        "packages.0.reason",
    ),
    ("an idle workload", [("workloads: {}", "workloads: {x: {}}")], "workloads", 0, "changes no rule"),
    ("an idle part", [("workloads: {}", "workloads: {x: {pypi: {}}}")], "workloads", 0, "changes no rule"),
    (
        "half a rule",
        [("workloads: {}", "workloads: {x: {pypi: {cooldown: {days: 3}}}}")],
        "workloads",
        0,
        "workloads.x.pypi.cooldown.unknown_upload is missing",
    ),
    (
        "an override of nothing",
        [("workloads: {}", "workloads: {x: {pypi: {yanked: }}}")],
        "workloads",
        0,
        "workloads.x.pypi.yanked is empty",
    ),
]


@pytest.mark.parametrize(
    ("pairs", "place", "nth", "word"),
    [each[1:] for each in ONE_MISTAKE],
    ids=[each[0] for each in ONE_MISTAKE],
)
def test_a_mistake_is_told_with_its_line(
    pairs: list[tuple[str, str]], place: str, nth: int, word: str
) -> None:
    with pytest.raises(Permanent) as caught:
        parse(changed(*pairs), "The policy file p.yaml")
    text = str(caught.value)
    assert text.startswith("The policy file p.yaml has ")
    assert f"line {line(place, nth)}: " in text
    assert word in text
    assert text.isprintable()


def test_every_mistake_is_told_in_the_order_of_the_lines() -> None:
    wrong = changed(
        ("name: default", "name: D"),
        ("direct_url: block", "direct_url:"),
        ("  yanked: allow\n", "  yankd: allow\n"),
        ("interpreter: allow", "interpreter: perhaps"),
    )
    with pytest.raises(Permanent) as caught:
        parse(wrong, "The policy file p.yaml")
    text = str(caught.value)
    assert text.startswith("The policy file p.yaml has 5 mistakes: ")
    lines = [int(number) for number in re.findall(r"line ([0-9]+):", text)]
    assert lines == sorted(lines)
    assert set(lines) == {
        line("name: default"),
        line("pypi:"),  # where the missing rule belongs
        line("direct_url"),
        line("  yanked:"),
        line("  interpreter:"),
    }


def test_of_very_many_mistakes_a_hundred_are_told() -> None:
    names = ", ".join("X" for _ in range(999))
    with pytest.raises(Permanent, match=r"has 999 mistakes: .*; and 899 more\.$"):
        parse(changed(("private_names: []", f"private_names: [{names}]")), "The policy file p.yaml")


def test_files_that_are_not_there_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="cannot be read"):
        read(tmp_path / "no.yaml")
    with pytest.raises(Permanent, match=r"default, .*offline"):
        find("lenient")
    (tmp_path / "large.yaml").write_bytes(b"#" * 300_000)
    with pytest.raises(Permanent, match="at most"):
        read(tmp_path / "large.yaml")


def test_what_a_workload_may_override_is_what_there_is() -> None:
    """The overrides are written out beside the rules: each rule has its override, of the same kind."""
    for rules, override in (
        (model.PythonRules, model.PythonOverride),
        (model.DebianRules, model.DebianOverride),
        (model.GenericRules, model.GenericOverride),
    ):
        kinds = {name: field.annotation for name, field in rules.model_fields.items()}
        own = {name: field.annotation for name, field in override.model_fields.items()}
        assert own == {name: kind | None for name, kind in kinds.items()}


def test_a_workload_has_its_own_rules_and_the_others_of_the_policy() -> None:
    text = (
        "workloads:\n  lab:\n    pypi: {yanked: hold}\n    private_names: [acme-*]\n"
        "  shop: {debian: {unfixed: {hold: LOW, block: HIGH, unknown_severity: hold}}}"
    )
    policy = parse(changed(("workloads: {}", text)), "p")
    plain, lab, shop = policy.rules(""), policy.rules("lab"), policy.rules("shop")
    assert (lab.pypi.yanked, plain.pypi.yanked, shop.pypi.yanked) == ("hold", "allow", "allow")
    assert lab.pypi == plain.pypi.model_copy(update={"yanked": "hold"})
    assert (lab.private_names, plain.private_names) == (("acme-*",), ())
    assert (shop.debian.unfixed.block, lab.debian) == ("HIGH", plain.debian)
    assert policy.rules("elsewhere") == plain
    assert Policy.read(policy.canonical(), "the stored policy") == policy


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_give_a_policy_or_a_sentence(data: bytes) -> None:
    with pytest.raises(Permanent) as caught:
        parse(data, "The policy file p.yaml")
    assert str(caught.value).isprintable()
