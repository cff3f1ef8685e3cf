"""Documents do not rot: what they name exists, what is made from the code is the code's, drawings can be read."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from functions.ctl import cli
from functions.local.layout import CHECKOUT
from shared.appraisal.appraise import CHECKS
from shared.events import SUBSCRIBERS
from shared.model.workload import Workload, read
from tests.docs import pages, reading, sequences, svg, workload_fields

DOCS = CHECKOUT / "docs"
DRAWINGS = sorted((DOCS / "drawings").glob("*.svg"))
_SVG = "{http://www.w3.org/2000/svg}"


def test_what_is_made_from_the_code_is_the_codes() -> None:
    assert pages.stale() == [], pages.COMMAND


def test_a_page_without_its_marks_is_named() -> None:
    with pytest.raises(ValueError, match="begin fields"):
        pages.replaced("no marks", "fields", "new")


@pytest.mark.parametrize("page", reading.PAGES, ids=reading.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert list(reading.dead_links(page, page.read_text())) == []


@pytest.mark.parametrize("page", reading.PAGES, ids=reading.name)
def test_what_a_page_names_exists(page: Path) -> None:
    assert list(reading.unknown(page.read_text())) == []


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("`DMZ_ZONE`", "`DMZ_ZONES`", "setting DMZ_ZONES"),
        ("`run-requested`", "`runs-requested`", "event runs-requested"),
        ("sync--verdicts-written", "sync--verdict-written", "subscription sync--verdict-written"),
        ("`dmz/retries`", "`dmz/retry`", "metric dmz/retry"),
        ("`shared/events.py`", "`shared/event.py`", "file shared/event.py"),
        ("`docs/*.md`", "`docs/*.rst`", "file docs/*.rst"),
        ("`shared.events.decode`", "`shared.events.decoded`", "module shared.events.decoded"),
        (
            "`tests/docs/test_pages.py::test_links_lead_somewhere`",
            "`tests/docs/test_pages.py::test_links`",
            "test tests/docs/test_pages.py::test_links",
        ),
    ],
)
def test_what_does_not_exist_is_seen(good: str, bad: str, said: str) -> None:
    assert list(reading.unknown(good)) == []
    assert list(reading.unknown(bad)) == [said]


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("[a](README.md)", "[a](READYOU.md)"),
        ("[a](docs/workloads.md#every-field)", "[a](docs/workloads.md#each-field)"),
        ("![a](docs/drawings/run.svg)", "![a](docs/drawings/ran.svg)"),
    ],
)
def test_a_dead_link_is_seen(good: str, bad: str) -> None:
    page = CHECKOUT / "README.md"
    assert list(reading.dead_links(page, good)) == []
    assert len(list(reading.dead_links(page, bad))) == 1


def test_where_to_look_is_where_it_stands() -> None:
    page = DOCS / "architecture.md"
    assert list(reading.misplaced(page, page.read_text())) == []
    row = "| a | b | [events.py](../shared/events.py) | `TYPES`, `KINDS` |\n"
    assert list(reading.misplaced(page, row)) == ["KINDS in [events.py](../shared/events.py)"]


def test_checks_of_a_token_are_counted() -> None:
    told = {
        number
        for page in reading.PAGES
        for number in re.findall(r"(\d+) (?:numbered )?checks\b", page.read_text())
    }
    assert told == {str(len(CHECKS))}


def test_the_index_has_every_page_in_one_line() -> None:
    index = (DOCS / "README.md").read_text()
    listed = re.findall(r"^\| \[[^\]]+\]\(([^)]+)\) \| [^|]+ \|$", index, re.MULTILINE)
    wanted = [str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if path != DOCS / "README.md"]
    here = sorted(one for one in listed if not one.startswith(".."))
    assert here == sorted(wanted), "docs/README.md: a row for every page of docs/, and for no other"


def test_the_example_of_a_workload_is_one_with_every_field(tmp_path: Path) -> None:
    file = tmp_path / "report.yaml"
    file.write_text(workload_fields.example_text())
    read(file)
    assert set(workload_fields.example()) == set(Workload.model_fields), "docs/workloads.md: the example"


def test_every_field_of_a_workload_has_a_meaning() -> None:
    rows = workload_fields.table().splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows if row.endswith("|  |")] == []


def test_every_command_is_told_where_one_begins() -> None:
    (commands,) = (
        action.choices for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    readme = (CHECKOUT / "README.md").read_text()
    assert [
        name for name in commands if not re.search(rf"`(\./dmz )?{name}\b|^ +\./dmz {name}\b", readme, re.M)
    ] == ["help"]


def test_every_threat_names_a_test_that_stands_against_it() -> None:
    page = (DOCS / "threat-model.md").read_text()
    tables = re.findall(r"^\| threat \|.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    rows = [row.strip("|\n ").split(" | ") for table in tables for row in table.splitlines()]
    assert len(rows) > 50
    assert [row[0] for row in rows if len(row) != 3 or "::" not in row[2]] == []


@pytest.mark.parametrize("name", sequences.DRAWN)
def test_arrows_are_those_of_the_code(name: str) -> None:
    assert list(sequences.mistakes(sequences.DRAWN[name])) == []


@pytest.mark.parametrize(
    "step",
    [
        sequences.Says("sync", "manifest-published", "scanner"),
        sequences.Says("outer", "manifest-published", "sync"),
        sequences.Says("inner", "run-completed", "outer"),
    ],
)
def test_a_wrong_arrow_is_seen(step: sequences.Says) -> None:
    drawn = sequences.Drawn("t", "d", ("a",), (), (), (step,))
    assert len(list(sequences.mistakes(drawn))) == 1


def test_every_stage_has_its_place_in_the_drawing_of_a_run() -> None:
    assert set(SUBSCRIBERS) <= set(sequences.RUN.lanes)


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.name)
def test_a_drawing_can_be_read(path: Path) -> None:
    """Within a README's width, large enough, with words for those who do not see it, in light and in dark."""
    text = path.read_text()
    root = ElementTree.fromstring(text)  # noqa: S314 - our own files
    width, height = (float(root.attrib[each]) for each in ("width", "height"))
    assert width <= svg.WIDEST
    assert root.attrib["role"] == "img"
    assert all((root.find(f"{_SVG}{each}").text or "").strip() for each in ("title", "desc"))
    assert "prefers-color-scheme:dark" in text
    assert not re.search(r"<script|\son\w+=|href=|@import|url\((?!#)", text)
    for each in root.iter(f"{_SVG}text"):
        size = float(each.attrib["font-size"])
        assert size >= svg.SMALLEST, each.text
        # Generous: letters of the widest of the usual fonts.
        reach, x, y = len(each.text or "") * size * 0.6, float(each.attrib["x"]), float(each.attrib["y"])
        left = x - (reach / 2 if each.attrib["text-anchor"] == "middle" else 0)
        assert left >= 0, each.text
        assert left + reach <= width, each.text
        assert 0 < y < height, each.text


def test_each_drawing_is_shown_somewhere() -> None:
    shown = "".join(page.read_text() for page in reading.PAGES)
    assert [path.name for path in DRAWINGS if f"drawings/{path.name}" not in shown] == []


def test_the_changelog_ends_at_the_version_of_the_project() -> None:
    """What was released last is what pyproject.toml says, or nothing has been released."""
    released = re.findall(r"^## \[(\d[^\]]*)\]", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    version = re.search(r'^version = "([^"]+)"', (CHECKOUT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert released[:1] in ([], [version[1]])
