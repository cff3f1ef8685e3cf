"""What docs/operations.md and terraform/README.md say is what a deployment does, and what the code says."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from typing import get_args

import pytest

from functions.ctl import deploy_page
from functions.local.layout import CHECKOUT
from shared.alarms import Kind

PAGE = (CHECKOUT / "docs" / "operations.md").read_text()
_BREAKS = PAGE.split("## When it breaks")[1].split("\n## ")[0]


def test_the_commands_of_the_page_are_those_of_a_deployment() -> None:
    assert deploy_page.PAGE.read_text() == deploy_page.page(), "python -m functions.ctl.deploy_page --write"


def rows(heading: str) -> list[list[str]]:
    """Cells of the table below a heading, without its head."""
    table = _BREAKS.split(f"### {heading}")[1].split("\n###")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(lines) > 2, heading
    return [line.strip("| ").split(" | ") for line in lines[1:]]


def sayings() -> Iterator[str]:
    """Every text of the code; what is filled in is an ellipsis."""
    for path in (path for room in ("functions", "shared") for path in (CHECKOUT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def unsaid(page: str) -> list[str]:
    """Quotations of a page's tables that the code does not say."""
    quoted = {
        each for row in page.splitlines() if row.startswith("| ") for each in re.findall(r"\*([^*|]+)\*", row)
    }
    return sorted(each for each in quoted if each not in everything_said())


@functools.cache
def everything_said() -> str:
    return "\n".join(sayings())


def test_symptoms_are_the_words_of_the_code() -> None:
    assert unsaid(_BREAKS) == []


def test_words_that_nobody_says_are_seen() -> None:
    assert unsaid("| *The run is stuck in the stage* | *The run has stuck* |") == ["The run has stuck"]


def test_every_alert_is_told() -> None:
    made = {
        name
        for project in ("outer", "inner")
        for name in re.findall(
            r'^    "([^"]+)" = {$', (CHECKOUT / "terraform" / project / "alerts.tf").read_text(), re.M
        )
    }
    assert len(made) > 5
    told = {name for row in rows("An alert came") for name in row[0].split(", ")}
    assert told == made


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_alarm_is_told(kind: str) -> None:
    assert f"`{kind}`" in [row[0] for row in rows("An alarm is open")]
