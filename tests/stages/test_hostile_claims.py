"""A hostile outer machine that claims what is true of other bytes, other names, other places."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Permanent
from shared.model.manifest import GenericFile
from shared.model.requirement import readable
from shared.model.value import sha256
from shared.model.workload import Workload
from shared.ports.upstream import Pin
from tests.stages import guests
from tests.stages.hostile import failed, raw, told, with_python
from tests.stages.world import OWN, URL, WORKLOAD, World
from tests.support import built
from tests.support.claims import environment, python

EVIL, ATTACKER = b"evil bytes", "https://attacker.test/a"


def fetched(url: str, content: bytes, path: str = "/opt/w/data.bin") -> GenericFile:
    return GenericFile(url=url, sha256=sha256(content), size=len(content), path=path)


def claiming(world: World, *files: GenericFile, workload: Workload = WORKLOAD) -> str:
    """The id of a run whose outer VM says that it fetched `files`."""
    world.outer = lambda config: guests.outer(config, world.claim(generic=files))
    return world.request(workload)


def naming(*urls: str) -> Workload:
    return WORKLOAD.model_copy(update={"files": urls})


def evil(world: World) -> None:
    world.market.contents[ATTACKER] = EVIL


def generics(world: World) -> list[str]:
    return [name for name in world.registry.uploads if name.startswith("generic:")]


# --- files by URL ---


@pytest.mark.parametrize("first", [True, False])
def test_bytes_of_one_url_do_not_get_in_under_another(world: World, first: bool) -> None:
    """Both URLs are the author's; one server gives evil bytes, and the VM says that both did."""
    evil(world)
    lies = (fetched(ATTACKER, EVIL, "/opt/w/a"), fetched(URL, EVIL))
    run_id = claiming(world, *(lies if first else lies[::-1]), workload=naming(ATTACKER))
    assert f"{URL} has the content" in failed(world, run_id)


def test_bytes_that_are_here_already_prove_nothing_about_a_url(world: World) -> None:
    """An earlier run brought them under the attacker's URL, with the other's author's consent."""
    evil(world)
    true = world.generic
    earlier = claiming(world, fetched(ATTACKER, EVIL), true, workload=naming(ATTACKER))
    assert world.run(earlier)["state"] == "completed"
    later = claiming(world, fetched(URL, EVIL))
    assert world.run(later)["state"] == "failed"
    assert f"{URL} has the content" in world.run(later)["reason"]


def test_a_url_that_was_proved_once_is_not_fetched_again(world: World) -> None:
    assert world.run(world.request())["state"] == "completed"
    del world.market.contents[URL]
    run_id = world.request()
    assert world.run(run_id)["state"] == "completed"
    assert world.run(run_id)["mirrored"] == {"artifacts": 0, "bytes": 0}


def test_two_urls_of_the_same_bytes_are_both_proved(world: World) -> None:
    other = "https://files.test/copy.bin"
    world.market.contents[other] = world.market.contents[URL]
    copy = world.generic.model_copy(update={"url": other, "path": "/opt/w/copy.bin"})
    run_id = claiming(world, world.generic, copy, workload=naming(other))
    assert world.run(run_id)["state"] == "completed", world.run(run_id)
    assert {file.url for file in world.lock(run_id).generic} == {URL, other}


def test_two_urls_of_the_same_bytes_do_not_share_a_place_under_way(world: World) -> None:
    other = "https://files.test/copy.bin"
    world.market.contents[other] = world.market.contents[URL]
    copy = world.generic.model_copy(update={"url": other, "path": "/opt/w/copy.bin"})
    fetch, both = world.market.fetch, threading.Barrier(2)
    places: set[str] = set()

    def together(url: str, sha256_: str, to: Path, **promised: Any) -> int:
        size = fetch(url, sha256_, to, **promised)
        if url in (URL, other):
            places.add(to.name)
            both.wait(10)
        return size

    world.market.fetch = together  # type: ignore[method-assign, assignment]
    run_id = claiming(world, world.generic, copy, workload=naming(other))
    assert world.run(run_id)["state"] == "completed", world.run(run_id)
    assert len(places) == 2


def test_bytes_that_are_fetched_again_for_their_url_are_counted_once(world: World) -> None:
    assert world.run(world.request())["state"] == "completed"
    other = "https://files.test/copy.bin"
    world.market.contents[other] = world.market.contents[URL]
    copy = world.generic.model_copy(update={"url": other, "path": "/opt/w/copy.bin"})
    run_id = claiming(world, world.generic, copy, workload=naming(other))
    assert world.run(run_id)["mirrored"] == {"artifacts": 1, "bytes": world.generic.size}


def test_a_url_with_two_contents(world: World) -> None:
    lie = fetched(URL, EVIL, "/opt/w/other")
    assert f"names two contents of {URL}" in failed(world, claiming(world, world.generic, lie))


def test_one_url_to_two_places_is_one_file(world: World) -> None:
    copy = world.generic.model_copy(update={"path": "/opt/w/copy.bin"})
    run_id = claiming(world, world.generic, copy)
    assert world.run(run_id)["state"] == "completed", world.run(run_id)
    assert [file.url for file in world.lock(run_id).generic] == [URL]


@pytest.mark.parametrize(
    "url", [ATTACKER, URL[:-1], URL.rsplit("/", 1)[0] + "/", f"{URL}?x", URL.replace(".bin", ".xin")]
)
def test_a_url_that_the_workloads_author_did_not_write(world: World, url: str) -> None:
    world.market.contents[url] = EVIL
    reason = failed(world, claiming(world, world.generic, fetched(url, EVIL, "/opt/w/x")))
    assert f"{url} is refused: the workload does not name it" in reason
    assert "`files`" in reason
    assert generics(world) == []


def test_a_url_that_the_script_puts_together_is_named_in_files(world: World) -> None:
    evil(world)
    run_id = claiming(world, fetched(ATTACKER, EVIL), workload=naming(ATTACKER))
    assert world.run(run_id)["state"] == "completed"


# --- the user's own wheels ---


def test_a_strangers_package_of_an_own_wheels_name(world: World) -> None:
    with_python(world, python("mine", "2.0", world.market.wheel("mine", "2.0")))
    reason = failed(world, world.request())
    assert "mine 2.0" in reason
    assert f"the workload's own wheel {OWN.filename}" in reason
    assert not any(name.startswith("mine-2.0") for name in world.registry.uploads)


def test_a_strangers_package_that_the_vm_only_leads_to(world: World) -> None:
    """It hides the own wheel; with lib 1.0 refused the resolver asks the index for what app needs."""
    app = world.market.wheel("app", "1.0", "lib<2", "mine")
    world.market.projects["app"] = world.market.projects["app"][-1:]
    world.market.wheel("mine", "2.0")
    world.environments = (
        environment(
            python("app", "1.0", app, requires=("lib<2", "mine"), requested=True),
            next(each for each in world.environments[0].packages if each.name == "lib"),
        ),
    )
    assert f"the workload's own wheel {OWN.filename}" in failed(world, world.request())
    assert not any(name.startswith("mine-2.0") for name in world.registry.uploads)


def test_a_strangers_package_that_a_build_asks_for(world: World) -> None:
    world.market.wheel("mine", "2.0")
    world.market.sdist("older", "1.0", "mine")
    with_python(world, python("older", "1.0", tags=("cp313-cp313-linux_x86_64",)))
    assert f"the workload's own wheel {OWN.filename}" in failed(world, world.request())
    assert not any(name.startswith("mine-2.0") for name in world.registry.uploads)


# --- requirements ---


@pytest.mark.parametrize("name", ["app", "mine"])
@pytest.mark.parametrize("line", ["lib; " + "(" * 900, "-r /etc/passwd", ""])
def test_a_requirement_that_is_none(world: World, name: str, line: str) -> None:
    """The resolver refuses it as the real one does; that a run fails over it is no defect of ours."""
    resolve = world.market.resolve

    def strict(requirements: Sequence[str], *more: Any, **others: Any) -> tuple[Pin, ...]:
        if len([*readable(requirements)]) < len(requirements):
            raise Permanent("That is not a requirement of PEP 508.")
        return resolve(requirements, *more, **others)

    world.market.resolve = strict  # type: ignore[method-assign]
    with_python(
        world,
        *(
            each.model_copy(update={"requires": (line, *each.requires)})
            for each in world.environments[0].packages
            if each.name == name
        ),
    )
    run = world.run(world.request())
    assert world.raised == []
    assert run["state"] == ("completed" if name == "app" else "failed")
    assert name == "app" or "is not a requirement of PEP 508" in run["reason"]


# --- environments ---


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", ["lib", "LIB", "Lib"])
def test_a_python_package_that_stands_there_twice(world: World, first: bool, name: str) -> None:
    packages = world.environments[0].packages
    good = python(name, "1.1", next(w for w in world.market.wheels.values() if "lib-1.1" in w.filename))
    world.environments = (environment(*((good, *packages) if first else (*packages, good))),)
    assert "names lib 2 times in /opt/w" in failed(world, world.request())


def test_an_environment_that_stands_there_twice(world: World) -> None:
    tool = python("tool", "1.0", built.wheel("tool", "1.0"))
    world.environments = (*world.environments, environment(tool))
    assert "names the environment /opt/w 2 times" in failed(world, world.request())


def placed(world: World, path: str, **more: Any) -> str:
    text = raw(world)
    text["environments"][0] |= {"path": path} | more
    return told(world, json.dumps(text).encode())


@pytest.mark.parametrize(
    "path",
    [
        *("/", "//", "/usr", "/usr/local", "/etc", "/tmp", "/opt", "/root", "/opt/dmz", "/opt/dmz/x"),
        *("/etc/x", "/etc//x", "//opt/w", "/opt/./w", "/opt/w/", "/opt//w", "/opt/w/.", "/opt/x/../w"),
        *("/proc/self", "/sys/x", "/dev/shm/x", "/run/x", "/boot/x", "/opt/-w\n"),
    ],
)
def test_an_environment_where_none_may_be(world: World, path: str) -> None:
    assert "The outer VM's manifest is not valid at environments.0" in placed(world, path)
    assert world.registry.uploads == []


@pytest.mark.parametrize("path", ["/opt/w", "/usr/local/bin", "/etc/site-packages", "/usr/lib/python3"])
def test_a_place_that_is_no_site_directory(world: World, path: str) -> None:
    assert "The outer VM's manifest is not valid at environments.0" in placed(world, path, virtual=False)


# --- the inner VM ---


def test_a_probe_that_came_through_and_is_called_denied(world: World) -> None:
    def leaky(config: Any) -> guests.Payload:
        payload = world.install_inner(config)
        payload["egress_probes"][4] |= {"open": True}
        return payload

    world.inner = leaky
    assert "not sealed: tcp deb.debian.org:80" in failed(world, world.request())


def test_a_file_by_url_that_is_another_urls_inside(world: World) -> None:
    def swapped(config: Any) -> guests.Payload:
        found = world.inside(config)
        lie = found.generic[0].model_copy(update={"url": ATTACKER})
        return guests.inner(config, found.model_copy(update={"generic": (lie,)}))

    world.inner = swapped
    assert f"lacks url {URL} {world.generic.sha256}" in failed(world, world.request())


@pytest.mark.parametrize("size", [1, 1000])
def test_a_file_has_the_size_that_the_vm_says(world: World, size: int) -> None:
    lie = world.generic.model_copy(update={"size": size})
    assert f"bytes and not the expected {size}" in failed(world, claiming(world, lie))
    assert generics(world) == []


def test_files_by_url_have_a_bearable_size_in_all(world: World) -> None:
    lies = [world.generic.model_copy(update={"size": 17 * 1024**3})]
    assert "said to have 18253611008 bytes in all" in failed(world, claiming(world, *lies))
