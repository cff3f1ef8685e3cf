"""dmz-config: what the stage writes is what the guest reads, and nothing else is taken."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from shared.guest.config import Wheel, WorkloadConfig, generic_id, parse
from shared.guest.failure import GuestError
from tests.guest.parts import config

_HEX = "a" * 64


def test_round_trip() -> None:
    workload = WorkloadConfig(
        "small",
        "echo ü",
        "true",
        ("jq",),
        ("a==1",),
        ("b ; python_version < '3'",),
        {"A": "b"},
        (Wheel("own-1-py3-none-any.whl", f"sha256:{_HEX}"),),
        7,
    )
    for written in (
        config(workload=workload, staging="staging", attributes={"replay-id": "r1"}),
        config("inner"),
    ):
        assert parse(written.to_json()) == written
        assert parse(written.to_json()).to_json() == written.to_json()


def _changed(*path: str, to: Any, role: str = "outer") -> str:
    data = json.loads(config(role).to_json())
    place = data
    for each in path[:-1]:
        place = place[each]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "must be a JSON object"),
        (_changed("surprise", to="x"), "'surprise' that this guest does not know"),
        (_changed("workload", "surprise", to="x"), "dmz-config.workload has a field"),
        (_changed("run_id", to=None), "lacks the field run_id"),
        (_changed("run_id", to=5), "dmz-config.run_id must be of type str, not int"),
        (_changed("workload", "install_minutes", to=True), "install_minutes must be of type int, not bool"),
        (_changed("workload", "apt", to=["jq", 1]), "dmz-config.workload.apt[1]"),
        (_changed("workload", "apt", to="jq"), "must be a list"),
        (_changed("role", to="middle"), "outer or inner"),
        (_changed("report_token", to=""), "report_token must not be empty"),
        (_changed("lock", to=None, role="inner"), "must name its lock"),
        (
            _changed(
                "workload", "wheels", to=[{"filename": "../x.whl", "sha256": f"sha256:{_HEX}"}], role="inner"
            ),
            "no plain file name",
        ),
        (
            _changed("workload", "wheels", to=[{"filename": "x.whl", "sha256": _HEX}], role="inner"),
            "A digest is",
        ),
        (
            _changed("workload", "wheels", to=[{"filename": "x.whl", "sha256": f"sha256:{_HEX}"}]),
            "no staging repository",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(text: str, says: str) -> None:
    with pytest.raises(GuestError) as caught:
        parse(text)
    assert says in str(caught.value)


def test_file_ids_hold_to_a_digest() -> None:
    assert generic_id(f"sha256:{_HEX}") == f"generic:{_HEX}:file"
    for bad in (_HEX, "sha256:" + "A" * 64, "sha256:../x", f"sha256:{_HEX}0"):
        with pytest.raises(GuestError):
            generic_id(bad)


def test_a_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        config().run_id = "x"  # type: ignore[misc]
