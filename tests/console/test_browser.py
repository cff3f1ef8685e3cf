"""The pages in Debian's Chromium: no error in its console, and what the script adds."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from shared.ports.store import Increment, Put
from tests.console.conftest import Console, Serve, Tab
from tests.console.documents import NOW, run
from tests.console.samples import pages, put_run, run_id, verdicts

Open = Callable[..., Tab]
PACKAGES = f"/runs/{run_id(0)}/packages"


def _beyond_the_window(page: Page) -> int:
    """By how much the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def test_every_page_opens_without_an_error_and_fits_a_narrow_window(tab: Open, address: str) -> None:
    page = tab().page
    for path in pages(run_id(0)):
        if path.endswith("/live"):
            continue  # a part of a page
        page.set_viewport_size({"width": 1280, "height": 900})
        answer = page.goto(address + path)
        assert answer
        assert answer.status == 200
        assert page.locator("main h1").count() == 1
        page.set_viewport_size({"width": 360, "height": 700})
        assert _beyond_the_window(page) <= 0, path


def test_dark_is_dark(tab: Open, address: str) -> None:
    page = tab(color_scheme="dark").page
    page.goto(address)
    red = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]")
    assert int(red) < 60


def test_the_filter_answers_while_one_types(tab: Open, address: str) -> None:
    page = tab().page
    page.goto(address + PACKAGES)
    page.get_by_role("searchbox").press_sequentially("cve-2024-56201")
    expect(page.get_by_role("status")).to_have_text("1 of 134 packages")
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    assert "q=cve-2024-56201" in page.url
    page.get_by_label("Verdict").select_option("hold")
    expect(page.get_by_text("No package is like that.")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_have_value("cve-2024-56201")
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("cve-2024-56201")


def test_without_a_script_all_is_there(tab: Open, address: str) -> None:
    page = tab(java_script_enabled=False).page
    page.goto(address + PACKAGES)
    page.get_by_role("searchbox").fill("torch")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    page.get_by_role("link", name="torch").click()
    expect(page.get_by_role("heading", name="torch 2.5.1")).to_be_visible()
    expect(page.get_by_text("the workload itself → maxtext")).to_be_visible()


def test_columns_sort(tab: Open, address: str) -> None:
    page = tab().page
    page.goto(address + PACKAGES)
    page.get_by_role("columnheader", name="Package").get_by_role("link").click()
    header = page.get_by_role("columnheader", name="Package")
    expect(header).to_have_attribute("aria-sort", "ascending")
    header.get_by_role("link").click()
    expect(page.get_by_role("columnheader", name="Package")).to_have_attribute("aria-sort", "descending")
    expect(page.locator("#rows tbody tr").first).to_contain_text("zlib1g")


def test_a_run_is_followed_until_its_end(tab: Open, own: Console, serve: Serve) -> None:
    going = run_id(1)
    page = tab().page
    page.goto(f"{serve(own)}/runs/{going}")
    sync, inner = page.locator(".stage").nth(2), page.locator(".stage").nth(3)
    expect(sync).to_contain_text("5 of 9 files")
    own.store.put([Increment("syncs", f"{going}-e952344cd000", "artifacts", 2)])
    expect(sync).to_contain_text("7 of 9 files")
    times = {"sync": {"ended": NOW - 1}, "inner": {"started": NOW - 1}}
    own.store.put([Put("runs", going, {"stage": "inner", "stages": times}, merge=True)])
    expect(inner).to_have_class("stage running")
    expect(page.locator("#said")).to_contain_text("sync done, inner running")
    put_run(own.store, own.blobs, going, run(1, requested=NOW - 60), verdicts())
    expect(page.locator(".head .badge")).to_have_text("completed")
    expect(page.get_by_role("heading", name="What the lock changes")).to_be_visible()
    # It asks no more.
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(1300)
    assert asked == []


def test_by_keyboard(tab: Open, address: str) -> None:
    page = tab().page
    page.goto(address)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('th a')"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(run_id(0))
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate(outline) == "solid"


def test_who_cannot_see_hears_the_same(tab: Open, address: str) -> None:
    page = tab().page
    page.goto(f"{address}/runs/{run_id(0)}")
    for role, name in (
        ("banner", None),
        ("main", None),
        ("navigation", "Pages of the console"),
        ("navigation", "Pages about this run"),
    ):
        assert page.get_by_role(role, name=name).count() == 1, (role, name)
    picture = page.get_by_role("img", name="outer done 10.5 s, scanner done 1.3 s")
    assert picture.count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(tab: Open, address: str, scheme: str) -> None:
    """Contrast of 4.5 to 1 at least (https://www.w3.org/TR/WCAG22/#contrast-minimum)."""
    page = tab(color_scheme=scheme).page
    page.goto(f"{address}/runs/{run_id(0)}")
    found = page.evaluate(_CONTRAST)
    assert found["texts"] > 60
    assert found["weak"] == []


_CONTRAST = """() => {
  const channels = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const linear = (x) => x / 255 <= 0.04045 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4;
  const light = (c) => { const v = c.slice(0, 3).map(linear);
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = channels(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0.99) return c; } return [255, 255, 255]; };
  let texts = 0; const weak = [];
  for (const e of document.querySelectorAll('main *, header *, footer *')) {
    if (e.closest('svg') || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(channels(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    texts += 1;
    if (ratio < 4.5) weak.push([e.textContent.trim().slice(0, 30), ratio]);
  }
  return { texts, weak };
}"""


def test_hostile_names_run_nothing(tab: Open, own: Console, serve: Serve) -> None:
    markup = "\"'><script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
    fields = run(1, "running", NOW - 60)
    own.store.put([Put("runs", run_id(1), fields | {"workload": markup, "reason": markup}, merge=True)])
    page = tab().page
    base = serve(own)
    for path in ("/", f"/runs/{run_id(1)}", f"/runs/{run_id(1)}/inner"):
        page.goto(base + path)
        page.wait_for_timeout(
            1200 if path.endswith(run_id(1)) else 50
        )  # the script has swapped its part meanwhile
        assert page.evaluate("window.pwned") is None
        assert "<script>window.pwned" in page.locator("main").inner_text()
