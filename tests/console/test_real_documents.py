"""The pages over documents that the stages themselves have written, all of them, in memory."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.conftest import Console
from tests.console.samples import pages
from tests.stages.world import World


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Console, World, str]]:
    """One run through all stages, each event delivered twice."""
    tmp: Path = tmp_path_factory.mktemp("world")
    world = World(tmp, copies=2)
    run_id = world.request()
    yield Console(world.store, world.blobs), world, run_id
    world.bus.close()


def test_a_run_of_the_stages_is_shown_whole(ran: tuple[Console, World, str]) -> None:
    console, world, run_id = ran
    run = world.run(run_id)
    assert run["state"] == "completed"
    for path in pages(run_id):
        if "/package?" not in path and not path.startswith("/dead-letters/"):
            assert console.client.get(path).status_code == 200, path
    assert console.logged == []
    picture = console.client.get(f"/runs/{run_id}/live").text
    assert set(re.findall(r'<g class="stage (\w+)"', picture)) == {"done"}
    assert f"{run['planned']} of {run['planned']} files" in picture.replace("\u202f", "")
    shards = world.store.find("syncs", "run_id", run_id)[0][1]["shards"]
    assert re.findall(r'<rect class="(done|open)"', picture) == ["done"] * shards


def test_every_verdict_of_the_stages_is_a_row_with_a_page(ran: tuple[Console, World, str]) -> None:
    console, world, run_id = ran
    text = console.client.get(f"/runs/{run_id}/packages").text
    links = re.findall(r'<th scope="row"><a href="([^"]+)">', text)
    assert len(links) == sum(world.run(run_id)["judged"].values())
    for link in links:
        page = console.client.get(html.unescape(link))
        assert page.status_code == 200, link
        assert "rules allowed it" in page.text


def test_every_event_of_the_stages_is_a_row_once(ran: tuple[Console, World, str]) -> None:
    console, world, run_id = ran
    text = console.client.get(f"/runs/{run_id}/events").text
    rows = re.findall(r'<span class="mono">([a-z-]+)</span></th><td>(\w+)</td>', text)
    assert ("manifest-published", "scanner") in rows
    assert rows.count(("sync-completed", "inner")) == 1
    ids = re.findall(r'<td class="mono soft">([^<]+)</td>', text)
    published = {event.id for event in world.bus.published if event.type == "sync-completed"}
    assert published <= set(ids)


def test_what_came_in_is_in_the_repositories(ran: tuple[Console, World, str]) -> None:
    console, world, _ = ran
    text = console.client.get("/repositories").text
    assert text.count("</svg>held</span>") == len(world.store.everything("holdings")) > 0
