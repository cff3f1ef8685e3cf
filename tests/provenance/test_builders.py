"""The policy of builders: whoever it lists decides, so each mistake in it is found when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.appraisal import builders
from shared.errors import Permanent
from tests.provenance.makers import ALICE, BOB, keyid, pem


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "builders.yaml"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def whole(**changed: Any) -> dict[str, Any]:
    known = [{"id": ALICE, "keys": [pem("alice")]}, {"id": BOB, "keys": [pem("p256 bob")]}]
    return {"threshold": 2, "validity_seconds": 60, "builders": known} | changed


def first(**changed: Any) -> dict[str, Any]:
    return whole(builders=[whole()["builders"][0] | changed, whole()["builders"][1]])


def test_a_policy_as_an_operator_writes_it(tmp_path: Path) -> None:
    found = builders.read(written(tmp_path, first(not_before="2026-01-01T00:00:00Z")))
    alice = found.find(ALICE)
    assert alice is not None
    assert alice.keyids == (keyid("alice"),)
    assert found.owner(keyid("p256 bob")) == found.find(BOB)
    assert found.find("https://builders.example/nobody") is None
    assert found.owner(keyid("carol")) is None
    # 1767225600 is 2026-01-01T00:00:00Z (date -ud @1767225600).
    assert [alice.may_vote(at) for at in (1767225599, 1767225600)] == [False, True]


def test_keys_as_blocks_of_text(tmp_path: Path) -> None:
    """As the documentation has it."""
    key = "\n".join("          " + line for line in pem("alice").splitlines())
    text = f"threshold: 1\nvalidity_seconds: 60\nbuilders:\n  - id: {ALICE}\n    keys:\n      - |\n{key}\n"
    alice = builders.read(written(tmp_path, text)).find(ALICE)
    assert alice is not None
    assert alice.keyids == (keyid("alice"),)


def test_not_after_is_inclusive(tmp_path: Path) -> None:
    alice = builders.read(written(tmp_path, first(not_after="2026-01-01T00:00:00Z"))).find(ALICE)
    assert alice is not None
    assert [alice.may_vote(at) for at in (1767225600, 1767225601)] == [True, False]


REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": ("", "must be a mapping"),
    "a list": ([], "must be a mapping"),
    "no builders": (whole(builders=[]), "builders"),
    "builders left out": ({"threshold": 1, "validity_seconds": 60}, "builders is missing"),
    "threshold 0": (whole(threshold=0), "threshold"),
    "threshold left out": ({k: v for k, v in whole().items() if k != "threshold"}, "threshold is missing"),
    "threshold as a text": (whole(threshold="2"), "threshold"),
    "threshold true": (whole(threshold=True), "threshold"),
    "threshold above": (whole(threshold=3), "only 2 builders"),
    "threshold above those that are left": (first(revoked=True), "only 1 builders"),
    "no validity": (whole(validity_seconds=0), "validity_seconds"),
    "a rule more": (whole(quorum=1), "no such field"),
    "a builder twice": (
        whole(builders=[{"id": ALICE, "keys": [pem("alice")]}, {"id": ALICE, "keys": [pem("carol")]}]),
        "give it once, with all its keys",
    ),
    "a key under two builders": (
        whole(
            builders=[
                {"id": ALICE, "keys": [pem("alice")]},
                {"id": BOB, "keys": [pem("carol"), pem("alice")]},
            ]
        ),
        f"given twice .{ALICE} and {BOB}",
    ),
    "a revoked builder's key under another": (
        whole(
            threshold=1,
            builders=[
                {"id": ALICE, "keys": [pem("alice")], "revoked": True},
                {"id": BOB, "keys": [pem("alice")]},
            ],
        ),
        "given twice",
    ),
    "a key twice": (first(keys=[pem("alice"), pem("alice").strip() + "\n\n"]), "given twice"),
    "no key": (first(keys=[]), "keys"),
    "a key that is none": (first(keys=["alice"]), "Key 1 of the builder"),
    "an identity that is no URI": (first(id="alice"), "id"),
    "an empty span": (
        first(not_before="2026-01-02T00:00:00Z", not_after="2026-01-01T00:00:00Z"),
        "not_after comes first",
    ),
    "a time that is none": (first(not_after="2026-13-01T00:00:00Z"), "no calendar"),
    "revoked as a text": (first(revoked="no"), "revoked"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_policy(case: str, tmp_path: Path) -> None:
    content, said = REFUSED[case]
    with pytest.raises(Permanent, match=said):
        builders.read(written(tmp_path, content))


def test_a_threshold_that_is_given_twice(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="twice"):
        builders.read(
            written(
                tmp_path, "threshold: 1\n" + "".join(f"{k}: {json.dumps(v)}\n" for k, v in whole().items())
            )
        )


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="cannot be read"):
        builders.read(tmp_path / "none.yaml")
