"""Dead letters on the pages: the reason, what came of each since, and by a run and page by page."""

from __future__ import annotations

import html
import re

from shared.memory.store import MemoryBlobs, MemoryStore
from shared.ports.store import Put
from tests.console import samples
from tests.console.conftest import Console
from tests.console.documents import NOW
from tests.console.samples import run_id


def rows(console: Console, path: str) -> dict[str, str]:
    """Letter to its row, as text."""
    text = html.unescape(console.client.get(path).text)
    found = re.findall(r'href="/dead-letters/([^"]+)">[^<]*</a></th>(.*?)</tr>', text, re.DOTALL)
    return {id: " ".join(re.sub(r"<[^>]+>", " ", row).split()) for id, row in found}


def test_each_letter_says_why_and_what_came_of_it(console: Console) -> None:
    found = rows(console, "/dead-letters")
    assert list(found) == ["9182", "9181", "9183", "9184"]
    assert found["9181"].startswith("open verdicts-written sync")
    assert "The registry refused the upload: 403 Forbidden." in found["9181"]
    # Pub/Sub has put it aside by itself: the reason is the claim's.
    assert "No stage has acknowledged it in 10 deliveries" in found["9182"]
    assert "The last try said: The registry answered 503." in found["9182"]
    assert found["9183"].startswith("sent again")
    assert found["9184"].startswith("dropped")
    assert "Dropped by ada: its workload is gone" in found["9184"]


def test_the_first_ones_stand_with_the_troubles_and_with_their_run(console: Console) -> None:
    assert rows(console, "/trouble") == rows(console, "/dead-letters")
    assert set(rows(console, f"/runs/{run_id(2)}/events")) == {"9181", "9182", "9183", "9184"}
    assert rows(console, f"/runs/{run_id(1)}/events") == {}
    overview = console.client.get(f"/runs/{run_id(2)}").text
    assert re.search(r'#letters">Dead letters</a></dt><dd class="warn">4</dd>', overview)


def test_a_letter_has_a_page_with_its_body(console: Console) -> None:
    text = html.unescape(console.client.get("/dead-letters/9181").text)
    assert f'"run_id": "{run_id(2)}"' in text
    assert "ce-source" in text
    assert "./dmz dead-letters show 9181" in text
    assert console.client.get("/dead-letters/none").status_code == 404


def test_what_was_dropped_before_it_was_noted_is_no_letter_yet() -> None:
    store = MemoryStore()
    store.put([Put("dead_letters", "7", {"dropped": {"why": "x", "by": "ada", "at": NOW}})])
    console = Console(store, MemoryBlobs())
    assert rows(console, "/dead-letters") == {}
    assert console.client.get("/dead-letters/7").status_code == 404


def test_letters_come_page_by_page() -> None:
    store = MemoryStore()
    one = samples.dead_letters(run_id(0))["9181"]
    store.put([Put("dead_letters", f"{n:04d}", {**one, "at": NOW - n // 2}) for n in range(120)])
    console, path, seen = Console(store, MemoryBlobs()), "/dead-letters", list[str]()
    for _ in range(3):
        seen += rows(console, path)
        text = console.client.get(path).text
        older = re.search(r'href="(/dead-letters\?after=[^"]+)" rel="next"', text)
        path = html.unescape(older[1]) if older else ""
    assert path == ""
    assert len(seen) == len(set(seen)) == 120
    assert len(rows(console, "/trouble")) == 10
    assert 'href="/dead-letters">All dead letters' in console.client.get("/trouble").text
