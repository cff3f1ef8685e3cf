"""Policies from YAML: the two that come with the project, and one sentence per mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from shared.errors import Permanent
from shared.policy.read import BUILT_IN, built_in, find, parse, read

DEFAULT = yaml.safe_load((BUILT_IN / "default.yaml").read_text())


def changed(**changes: object) -> bytes:
    return yaml.safe_dump({**DEFAULT, **changes}).encode()


def test_the_default_policy() -> None:
    policy = find("default")
    assert policy.max_advisory_age_hours == 72
    assert (policy.pypi.block_severity, policy.pypi.unknown_severity, policy.pypi.malicious) == (
        "HIGH",
        "block",
        "block",
    )
    assert (policy.pypi.undecided, policy.pypi.direct_url, policy.pypi.source_distribution) == (
        "hold",
        "block",
        "allow",
    )
    assert (policy.debian.fix_available, policy.debian.unfixed, policy.debian.undecided) == (
        "block",
        "allow",
        "hold",
    )


def test_the_offline_policy_differs_in_the_age_of_data_alone_and_says_so() -> None:
    default, offline = find("default"), find("offline")
    assert offline.max_advisory_age_hours is None
    assert "weaker" in offline.description
    for rules in ("pypi", "debian", "generic"):
        assert getattr(offline, rules) == getattr(default, rules)


def test_every_policy_is_found_under_its_own_name() -> None:
    assert built_in() == ("default", "offline")
    assert all(find(name).name == name for name in built_in())
    assert find(str(BUILT_IN / "default.yaml")) == find("default")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["is empty"]),
        (b"{}", ["is empty"]),
        (b"# nothing\n", ["is empty"]),
        (b"- allow", ["must be a mapping"]),
        (b"allow", ["must be a mapping"]),
        (b"name: [", ["is not YAML"]),
        (b"name: \xff", ["is not YAML"]),
        (b"name: default\nname: other", ["'name' is given twice"]),
        (b"a: &a {b: 1}\nname: !!python/object/apply:os.getcwd []", ["is not YAML"]),
        (changed(pypi={}), [f"lacks the rule pypi.{rule}" for rule in DEFAULT["pypi"]]),
        (changed(pypi={**DEFAULT["pypi"], "malicous": "block"}), ["unknown rule pypi.malicous"]),
        (changed(extra=1), ["unknown rule extra"]),
        (changed(name="No Spaces"), ["wrong at name"]),
        (changed(max_advisory_age_hours=0), ["wrong at max_advisory_age_hours"]),
        (changed(max_advisory_age_hours="72"), ["wrong at max_advisory_age_hours"]),
        (changed(max_advisory_age_hours=None), ["name it as an offline policy"]),
        (changed(debian={**DEFAULT["debian"], "undecided": "allow"}), ["wrong at debian.undecided"]),
        (changed(debian={**DEFAULT["debian"], "fix_available": True}), ["wrong at debian.fix_available"]),
        (changed(pypi={**DEFAULT["pypi"], "block_severity": "high"}), ["wrong at pypi.block_severity"]),
        (
            changed(pypi=None, generic={"fetched_by_url": "maybe", "interpreter": "allow"}),
            ["wrong at pypi", "wrong at generic.fetched_by_url"],
        ),
        (changed(name=float("nan")), ["neither text nor a number"]),
    ],
)
def test_each_mistake_is_a_sentence(data: bytes, words: list[str]) -> None:
    with pytest.raises(Permanent) as caught:
        parse(data, "The policy file p.yaml")
    text = str(caught.value)
    assert all(word in text for word in words)
    assert text.count("The policy file p.yaml") == len(words)
    assert "\n" not in text


def test_files_that_are_not_there_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="cannot be read"):
        read(tmp_path / "no.yaml")
    with pytest.raises(Permanent, match="default, offline"):
        find("strict")
    (tmp_path / "large.yaml").write_bytes(b"#" * 100_000)
    with pytest.raises(Permanent, match="at most"):
        read(tmp_path / "large.yaml")
