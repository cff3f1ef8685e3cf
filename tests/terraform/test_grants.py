"""Rights in the outer project: the committed table is the plan's, and every right has code that needs it."""

from __future__ import annotations

from typing import Any

from tests.terraform import grants_table


def test_the_table_is_the_plans(outer_plan: dict[str, Any]) -> None:
    assert grants_table.TABLE.read_text() == grants_table.table(outer_plan), (
        "Write it anew: .venv/bin/python -m tests.terraform.grants_table"
    )


def test_every_right_has_code_that_needs_it(outer_plan: dict[str, Any]) -> None:
    assert grants_table.unneeded(grants_table.rows(outer_plan)) == []


def test_a_right_that_nothing_needs_is_seen() -> None:
    assert (
        grants_table.needed_by("storage.objectUser", "bucket PROJECT-dmz-policies", "outer: sync-stage") == ""
    )
    assert grants_table.unneeded([("outer: sync-stage", "owner", "project PROJECT", "")])
