"""What lists and pages show: order, filters, refusals first, and what is said where something is missing."""

from __future__ import annotations

import html
import math
import re

import pytest

from functions.console import packages
from shared.errors import Permanent
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.model.value import canonical
from shared.ports.store import Put
from tests.console.conftest import Console
from tests.console.documents import NOW, debian, python, verdict
from tests.console.samples import run_id


def _shown(text: str) -> list[str]:
    return re.findall(r'<th scope="row"><a class="mono" href="/runs/(run-[0-9a-f]+)"', text)


def test_runs_come_newest_first_and_page_by_page(console: Console) -> None:
    first = console.client.get("/")
    older = re.search(r'href="(/\?after=[^"]+)" rel="next"', first.text)
    assert older
    second = console.client.get(html.unescape(older[1]))
    assert _shown(first.text) + _shown(second.text) == [run_id(number) for number in range(30)]
    assert len(_shown(first.text)) == 25
    assert 'rel="next"' not in second.text
    assert ">Newest</a>" in second.text


def test_the_list_says_what_a_glance_needs(console: Console) -> None:
    text = console.client.get("/").text
    assert text.count("<figure") == 4
    rows = {run: row for row in text.split("<tr>") for run in _shown(row)}
    assert "completed</span>" in rows[run_id(0)]
    assert "running</span>" in rows[run_id(1)]
    assert "failed</span>" in rows[run_id(2)]
    assert "The index has no file of torch" in rows[run_id(2)]
    assert re.search(
        r'<td class="num">134</td>\s*<td class="num"><span class="warn">2</span>', rows[run_id(0)]
    )


def test_a_run_shows_its_refusals_first_with_all_that_is_known(console: Console) -> None:
    text = html.unescape(console.client.get(f"/runs/{run_id(0)}").text)
    blocked, held = text.index("<h3>jinja2"), text.index("<h3>torch")
    assert blocked < held < text.index("What the lock changes")
    card = text[blocked:held]
    for words in (
        *("GHSA-gmj6-6f8f-6699", "CVE-2024-56201", "high", "8.8", "3.1.5", "breakout through file names"),
        *(
            "Replaced by <strong>jinja2 3.1.5",
            "jinja2==3.1.4",
            "Needed by the workload itself",
            "12 rules allowed it",
        ),
    ):
        assert words in card
    assert "Nothing took its place" in text[held:]
    assert "at most 0.01 USD" in text
    assert "No capacity" in text


def test_a_run_draws_the_chain_as_it_stands(console: Console) -> None:
    done = console.client.get(f"/runs/{run_id(0)}/live").text
    assert 'data-ended="yes"' in done
    assert [*re.findall(r'<g class="stage (\w+)"', done)] == ["done"] * 5
    going = console.client.get(f"/runs/{run_id(1)}/live").text
    assert 'data-ended="no"' in going
    assert re.findall(r'<g class="stage (\w+)"', going) == ["done", "done", "running", "waiting", "waiting"]
    assert re.findall(r'<rect class="(done|open)"', going) == ["done", "open"]
    assert "5 of 9 files" in going
    failed = console.client.get(f"/runs/{run_id(2)}/live").text
    assert re.findall(r'<g class="stage (\w+)"', failed) == ["done", "done", "failed", "waiting", "waiting"]


def test_packages_filter_sort_and_page_without_a_script(console: Console) -> None:
    def rows(query: str) -> list[str]:
        text = console.client.get(f"/runs/{run_id(0)}/packages?{query}").text
        return re.findall(r'<th scope="row"><a href="[^"]+">([^<]+)</a>', text)

    assert rows("")[:2] == ["jinja2", "torch"]
    assert len(rows("")) == 50
    assert rows("page=3")[-1] == rows("page=99")[-1]
    assert rows("q=JINJA") == rows("q=cve-2024-56201") == rows("decision=block") == ["jinja2"]
    assert rows("decision=hold&ecosystem=debian") == []
    names = rows("sort=name")
    assert names == sorted(names)
    assert rows("sort=name&order=down")[0] == "zlib1g"
    assert rows("ecosystem=pypi&sort=severity") == ["torch", "jinja2", "humanize"]
    assert rows("ecosystem=pypi&sort=findings")[0] == "jinja2"


def test_events_are_told_with_id_and_attempt(console: Console) -> None:
    text = console.client.get(f"/runs/{run_id(0)}/events").text
    assert "The advisories could not be asked." in text
    assert '<strong class="warn">2</strong>' in text
    assert re.search(r"scanner manifest-published</th><td>\s*<span class=\"badge hold\">", text)
    assert "133 packages" not in text
    assert "may enter" in text


def test_verdicts_that_are_gone_take_nothing_else_with_them(own: Console) -> None:
    digest = own.store.everything("runs")[run_id(0)]["verdicts"]
    own.blobs._content.pop(digest)
    text = html.unescape(own.client.get(f"/runs/{run_id(0)}").text)
    assert f"There is no stored content {digest}" in text
    assert "9 of 9 files" in text


@pytest.mark.parametrize("odd", [math.inf, math.nan, 2**63 - 1, "soon", ["a"], {"a": ["b"]}, None])
def test_one_odd_document_does_not_take_the_lists_with_it(own: Console, odd: object) -> None:
    run = run_id(0)
    fields = {"state": odd, "ended": odd, "planned": odd}
    own.store.put([Put("runs", run, fields, merge=True)])
    own.store.put([Put("reevaluations", "latest", {"packages": odd, "changed": odd}, merge=True)])
    for path in ("/", f"/runs/{run}", f"/runs/{run}/events", "/watch", "/trouble"):
        assert own.client.get(path).status_code == 200, own.logged


def test_the_newest_failure_is_found_among_many() -> None:
    store = MemoryStore()
    failed = {"state": "failed", "workload": "w", "stage": "outer", "reason": "No."}
    store.put([Put("runs", f"run-{n:012x}", {**failed, "ended": NOW - 1000 + n}) for n in range(500)])
    page = Console(store, MemoryBlobs()).client.get("/trouble").text
    assert "run-0000000001f3" in page
    assert "run-000000000000" not in page


def test_an_empty_store_says_how_to_begin() -> None:
    empty = Console(MemoryStore(), MemoryBlobs())
    assert "Nothing has run here yet" in empty.client.get("/").text
    for path in ("/machines", "/waivers", "/trouble", "/repositories", "/watch", "/images"):
        assert empty.client.get(path).status_code == 200


def test_other_pages_hold_what_they_promise(console: Console) -> None:
    def text(path: str) -> str:
        return html.unescape(console.client.get(path).text)

    assert "at most 2.44 USD" in text("/machines")
    assert "in 32 d, or when a fix exists" in text("/waivers")
    assert "The registry answered 503." in text("/trouble")
    assert "x 1 was taken back upstream" in text("/watch")
    assert "134.6 kB" in text("/repositories")
    inner = text(f"/runs/{run_id(0)}/inner")
    assert "dmz: smoke script ended with 0 after 0.3 s" in inner
    assert f"./dmz logs {run_id(0)}" in inner
    assert "line two" in text(f"/runs/{run_id(2)}/inner")
    images = text("/images")
    assert images.count('<use href="#i-ok">') >= 3
    assert "urn:package-dmz:local:rebuilder" in images
    checks = text(f"/runs/{run_id(0)}/attestation")
    assert re.search(r'<td class="num">41</td><th scope="row">image digest</th>', checks)


def test_rows_are_read_once_for_one_digest(console: Console) -> None:
    reads = []

    def content(digest: str) -> bytes:
        reads.append(digest)
        return canonical({"verdicts": [verdict(python("a", "1")), verdict(debian("b", "2"))]})

    shelf = packages.Shelf()
    for digest in ("one", "one", "two", "one"):
        assert [row.name for row in shelf.rows(digest, content).rows] == ["a", "b"]
    assert reads == ["one", "two"]
    for number in range(packages._KEPT):
        shelf.rows(str(number), content)
    shelf.rows("one", content)
    assert reads.count("one") == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"verdicts":[{}]}', b'{"verdicts":[1]}'])
def test_verdicts_of_another_form_are_said_to_be(content: bytes) -> None:
    with pytest.raises(Permanent, match=r"of another form than this console reads"):
        packages.rows(content, "sha256:x")
