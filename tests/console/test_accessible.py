"""Every page by the rules of axe-core (https://github.com/dequelabs/axe-core), dark and light, wide and narrow."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest

from tests.console.samples import pages, run_id
from tests.console.test_browser import Open

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WHOLE = [path for path in pages(run_id(0)) if not path.endswith("/live")]


def broken(page: Any) -> list[str]:
    """Rules that the page breaks, each with the first place."""
    # By the protocol of the browser's tools: the pages' own policy lets no such script in.
    page.evaluate(f"() => {{ {AXE} }}")
    found = page.evaluate("(rules) => axe.run({ runOnly: rules, resultTypes: ['violations'] })", RULES)
    assert len(found["passes"]) > 10, "axe has looked at nothing"
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found["violations"]]


NARROW = ["/", f"/runs/{run_id(0)}", "/trouble"]


@pytest.mark.parametrize(
    ("scheme", "width", "paths"),
    [("light", 1280, [*WHOLE, f"/runs/{run_id(2)}/inner"]), ("dark", 360, NARROW)],
    ids=["light and wide", "dark and narrow"],
)
def test_pages_break_no_rule_of_accessibility(
    tab: Open, address: str, scheme: str, width: int, paths: list[str]
) -> None:
    page = tab(color_scheme=scheme, viewport={"width": width, "height": 800}).page
    for path in paths:
        page.goto(address + path)
        assert broken(page) == [], path


def test_axe_would_say_so(tab: Open, address: str) -> None:
    """The test above can fail."""
    page = tab().page
    page.goto(address)
    page.evaluate(
        "document.querySelector('main h1').outerHTML = '<h4></h4><img src=data:,><select></select>'"
    )
    assert {each.partition(":")[0] for each in broken(page)} >= {"image-alt", "select-name"}
