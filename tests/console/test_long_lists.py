"""What has more rows than a page: all of them are found, each once, and filters look at all."""

from __future__ import annotations

import html
import re
from urllib.parse import quote

import pytest

from shared.memory.store import MemoryBlobs, MemoryStore
from shared.model.lock import Change
from shared.model.package import Package
from shared.model.value import canonical, sha256
from shared.ports.store import Put
from tests.console import samples
from tests.console.conftest import Console
from tests.console.documents import NOW, debian, python, run, verdicts
from tests.console.samples import run_id


def followed(console: Console, path: str, row: str) -> list[str]:
    """What `row` finds on this page and on all behind it."""
    found: list[str] = []
    for _ in range(20):
        text = console.client.get(path).text
        found += re.findall(row, text)
        further = re.search(
            r'<a(?: rel="next")? href="([^"]+)"(?: rel="next")?>(?:Next|Later|Older)</a>', text
        )
        if not further:
            return found
        path = html.unescape(further[1])
    raise AssertionError("the pages have no end")


# --- changes ---


def _change(before: Package, version: str, reason: str) -> Change:
    after = before.model_copy(update={"version": version})
    return Change(before=before, after=after, advisories=(), required_by=(), reason=reason)


def _moved(number: int) -> Change:
    return _change(debian(f"lib{number:04d}", "1.0-1"), "1.1-1", f"why {number}" if number % 2 else "")


@pytest.fixture(scope="module")
def changed() -> Console:
    """A run whose lock changes 130 packages; its document holds the first hundred, the refused one last."""
    store, blobs = MemoryStore(lambda: NOW), MemoryBlobs(lambda: NOW)
    changes = [_moved(number).model_dump(mode="json") for number in range(129)]
    last = _change(python("jinja2", "3.1.4"), "3.1.6", "")
    lock = blobs.put(canonical({"changes": [*changes, last.model_dump(mode="json")]}))
    rows = [{"kind": "moved", "names": [f"lib{n:04d}"], "from": "1.0-1", "to": "1.1-1"} for n in range(100)]
    fields = run(0) | {"lock": lock, "changes": {"total": 130, "counts": {}, "rows": rows}}
    samples.put_run(store, blobs, run_id(0), fields, verdicts())
    samples.put_details(store, run_id(0), verdicts()[:60])
    return Console(store, blobs)


CHANGES = f"/runs/{run_id(0)}/changes"
_NAME = r'<tr><th scope="row">([a-z0-9]+)</th>'


def test_every_change_of_the_lock_is_shown(changed: Console) -> None:
    found = followed(changed, CHANGES, _NAME)
    assert sorted(found) == ["jinja2", *(f"lib{n:04d}" for n in range(129))]
    overview = changed.client.get(f"/runs/{run_id(0)}").text
    assert f'<a href="{CHANGES}">All 130 changes</a>' in overview
    # What took the place of a refused package stands beyond the hundred of the document.
    assert "Replaced by <strong>jinja2 3.1.6</strong>" in overview


def test_changes_are_filtered_over_all_pages(changed: Console) -> None:
    def asked(query: str) -> list[str]:
        return followed(changed, f"{CHANGES}?{query}", _NAME)

    assert asked("q=LIB0128") == ["lib0128"]
    assert asked("q=jinja2") == ["jinja2"]
    assert asked("q=nothing") == []
    kinds = re.findall(r'<option value="(\w+)">', changed.client.get(CHANGES).text)
    assert sum(len(asked(f"kind={kind}")) for kind in kinds) == 130
    assert changed.client.get(f"{CHANGES}?kind=odd").status_code == 400


def test_a_lock_that_is_gone_leaves_the_first_changes_and_says_so(changed: Console) -> None:
    store, blobs = MemoryStore(lambda: NOW), MemoryBlobs(lambda: NOW)
    gone = sha256(b"gone")
    fields = (changed.store.get("runs", run_id(0)) or {}) | {"lock": gone}
    store.put([Put("runs", run_id(0), fields)])
    own = Console(store, blobs)
    assert len(followed(own, CHANGES, _NAME)) == 100
    assert f"There is no stored content {gone}" in own.client.get(CHANGES).text
    odd = blobs.put(b'{"changes": [{"before": 1}]}')
    store.put([Put("runs", run_id(0), fields | {"lock": odd})])
    assert "of another form than this console reads" in own.client.get(CHANGES).text


# --- the trace ---


def test_a_long_trace_comes_in_order_of_time_page_by_page() -> None:
    store, blobs = MemoryStore(lambda: NOW), MemoryBlobs(lambda: NOW)
    samples.put_run(store, blobs, run_id(0), run(0), [])
    event = {"event_type": "sync-shard-planned", "attempt": 1, "replay": False}
    for number in range(450):
        # Three begin at once; ids are in no order of time.
        facts = {**event, "event_id": f"event-{number:04d}"}
        started = NOW - 3600 + number // 3
        span = {"id": f"s{number}", "run_id": run_id(0), "stage": "sync", "name": "sync", "started": started}
        name = f"{sha256(str(number).encode())[7:23]}"
        store.put(
            [Put("spans", name, {**span, "ended": started + 1, "outcome": "done", "attributes": facts})]
        )
    found = followed(
        Console(store, blobs), f"/runs/{run_id(0)}/events", r'<td class="mono soft">event-(\d+)</td>'
    )
    assert len(found) == len(set(found)) == 450
    assert [int(each) // 3 for each in found] == sorted(int(each) // 3 for each in found)


def test_duplicates_and_tries_are_counted(console: Console) -> None:
    text = console.client.get(f"/runs/{run_id(0)}/events").text
    assert re.search(r'<td class="num">1</td><td class="num">2</td><td class="mono soft">', text)
    tile = re.search(r">Events</a></dt><dd>(.*?)</dd>", console.client.get(f"/runs/{run_id(0)}").text)
    assert tile
    words = " ".join(re.sub(r"<[^>]+>", " ", tile[1]).split())
    assert words == "5 handled 1 given back 2 duplicates"


# --- failed runs ---


def test_all_runs_that_failed_are_found_from_the_page_of_troubles() -> None:
    store = MemoryStore()
    failed = {"state": "failed", "workload": "w", "stage": "outer", "reason": "No."}
    store.put([Put("runs", f"run-{n:012x}", {**failed, "ended": NOW - n}) for n in range(120)])
    found = followed(Console(store, MemoryBlobs()), "/trouble", r'href="/runs/(run-[0-9a-f]+)"')
    assert found == [f"run-{n:012x}" for n in range(120)]


# --- repositories ---


@pytest.fixture(scope="module")
def held() -> Console:
    """Two repositories, one of them with more than a page, and a few files that were evicted."""
    store = MemoryStore()
    for number in range(230):
        package = python(f"jax{number:03d}", "1.0") if number % 2 else debian(f"lib{number:03d}", "1.0-1")
        fields = {
            "repository": "dmz-python" if number % 2 else "trixie",
            "sha256": sha256(str(number).encode()),
            "purl": package.purl,
            "subject": {"package": package.model_dump(mode="json")},
            "came": NOW - number,
            "evicted": NOW if number in (1, 3, 5) else None,
            "size": 1000,
            "run_id": run_id(0),
        }
        store.put([Put("holdings", f"h{number}", fields)])
    return Console(store, MemoryBlobs())


_FILE = r'<tr><th scope="row" title="[^"]*">(\w+) '


def test_a_repository_says_what_it_holds_and_lists_it_all(held: Console) -> None:
    tiles = re.findall(
        r'\?repository=([a-z-]+)"[^>]*>[^<]+</a></dt><dd>(\d+) <small>files, ([\d.]+ kB)',
        held.client.get("/repositories").text,
    )
    assert tiles == [("dmz-python", "112", "112.0 kB"), ("trixie", "115", "115.0 kB")]
    assert len(set(followed(held, "/repositories", _FILE))) == 230
    one = followed(held, "/repositories?repository=trixie", _FILE)
    assert one == [f"lib{number:03d}" for number in range(0, 230, 2)]


def test_a_file_is_found_by_name_purl_and_hash(held: Console) -> None:
    digest = sha256(b"7")
    for words in ("jax007", "pkg:pypi/jax007", digest, digest.removeprefix("sha256:")):
        assert followed(held, f"/repositories?q={quote(words)}", _FILE) == ["jax007"], words
    assert len(followed(held, "/repositories?q=jax00", _FILE)) == 5
    assert followed(held, "/repositories?q=jax00&repository=trixie", _FILE) == []
    assert "More than 100 files" in held.client.get("/repositories?q=jax").text
    assert "No file is like that." in held.client.get("/repositories?q=nothing").text
