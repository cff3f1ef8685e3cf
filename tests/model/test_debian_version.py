"""Debian's version order against dpkg itself, and as an algebra."""

from __future__ import annotations

import random
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.debian_version import compare, key

CASES = [
    ("1.0", "1.0", 0),
    ("1.0", "1.0-0", 0),
    ("1.", "1.0", 0),
    ("1.0a", "1.0a0", 0),
    ("0:1", "1", 0),
    ("1.0~rc1", "1.0", -1),
    ("1.0~~", "1.0~", -1),
    ("1.0~rc1-1", "1.0-1", -1),
    ("1.0-1~deb12u1", "1.0-1", -1),
    ("1.0+b1", "1.0", 1),
    ("1.0-1+b1", "1.0-1", 1),
    ("1:0.1", "9.9", 1),
    ("2147483647:1", "999999999:9", 1),
    ("1.10", "1.9", 1),
    ("1.0a", "1.0+", -1),
    ("1.2-3-1", "1.2-3-0", 1),
    ("2.0-1", "2.0.1-1", -1),
    ("1.0-00", "1.0-0", 0),
]

_tail = st.text(alphabet="019az~+.", max_size=8)
versions = st.builds(
    lambda epoch, upstream, revision: epoch + "0" + upstream + revision,
    st.sampled_from(["", "0:", "1:"]),
    _tail,
    st.one_of(st.just(""), st.text(alphabet="019az~+.", min_size=1, max_size=6).map("-".__add__)),
)


@pytest.mark.parametrize(("a", "b", "expected"), CASES)
def test_known_pairs(a: str, b: str, expected: int) -> None:
    assert compare(a, b) == expected
    assert compare(b, a) == -expected


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ":1",
        "a:1",
        "-1:1",
        "1:",
        "1-",
        "1 0",
        "1_0",
        "1\n",
        "1-é",
        "9" * 600,
        "٣",
        "2147483648:1",
        "9" * 11 + ":1",
    ],
)
def test_a_malformed_version_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="not a Debian version"):
        key(bad)


@given(versions, versions, versions)
def test_the_order_is_total(a: str, b: str, c: str) -> None:
    assert compare(a, a) == 0
    assert compare(a, b) == -compare(b, a)
    low, middle, high = sorted([a, b, c], key=key)
    assert compare(low, middle) <= 0
    assert compare(middle, high) <= 0
    assert compare(low, high) <= 0


def test_dpkg_gives_the_same_answers() -> None:
    seed = random.Random(7)  # noqa: S311 - test data, repeatable

    def version() -> str:
        text = seed.choice(["", "", "1:"]) + "1" + "".join(seed.choices("019az~+.", k=seed.randint(0, 5)))
        return text + (
            "-" + "".join(seed.choices("01a~+.", k=seed.randint(1, 4))) if seed.random() < 0.5 else ""
        )

    pairs = [(version(), version()) for _ in range(400)] + [(a, b) for a, b, _ in CASES]
    words = {-1: "lt", 0: "eq", 1: "gt"}
    script = "\n".join(
        f"dpkg --compare-versions '{a}' {words[compare(a, b)]} '{b}' || echo '{a} {b}'" for a, b in pairs
    )
    wrong = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True)
    assert wrong.stdout == ""
