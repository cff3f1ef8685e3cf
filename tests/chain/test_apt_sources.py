"""Packages from two vendors' apt repositories, one of them flat, each under its own key, on the real emulators."""

from __future__ import annotations

import hashlib
import lzma
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
import yaml

from shared.model.value import sha256
from shared.policy.read import BUILT_IN
from tests.chain.goods import Deb, publish_suite
from tests.chain.system import System, wanted
from tests.chain.world import HOST, LIBRARY, World
from tests.upstream.conftest import Signer, make_signer, stop_agent
from tests.upstream.support import Reply
from tests.upstream.test_apt_sources import armored

TOOL, DRIVER = Deb("vendor-tool", "3.0-1", f"{LIBRARY.name}, flat-driver"), Deb("flat-driver", "12.9")
UNASKED = Deb("vendor-unasked", "1.0")
INSTALL = "dpkg -s vendor-tool flat-driver > /dev/null && python3 -m venv --without-pip /opt/work"
SMOKE = f"dpkg -s vendor-tool flat-driver {LIBRARY.name} > /dev/null && ! dpkg -s {UNASKED.name}"


def publish_flat(world: World, signer: Signer, root: str, debs: tuple[Deb, ...]) -> None:
    """Release, Packages and archives in one folder; no suite has a name, and nothing an end."""
    stanzas = (deb.stanza().replace(deb.pool, f"./{deb.built.filename}") for deb in debs)
    plain = "\n".join(stanzas).encode()
    packed = lzma.compress(plain)
    release = f"Origin: Flat Inc.\nDate: {format_datetime(datetime.now(UTC), usegmt=True)}\nSHA256:\n"
    for name, content in (("Packages", plain), ("Packages.xz", packed)):
        release += f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}\n"
    world.web.routes[f"{root}/InRelease"] = Reply(signer.clear(release.encode()))
    world.web.routes[f"{root}/Packages"] = Reply(plain)
    world.web.routes[f"{root}/Packages.xz"] = Reply(packed)
    for deb in debs:
        # apt asks for the name as the stanza has it, dot and all; servers take both for one.
        for name in (deb.built.filename, f"./{deb.built.filename}"):
            world.web.routes[f"{root}/{name}"] = Reply(deb.built.content)


@pytest.fixture(scope="module")
def sources(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """Both repositories, served; as a workload names them."""
    folder = tmp_path_factory.mktemp("vendors")
    suited, flat = (make_signer(folder / name) for name in ("suited", "flat"))
    publish_suite(world.web, suited, "/vendor", "vendor-trixie", (TOOL, UNASKED))
    publish_flat(world, flat, "/flat", (DRIVER,))
    yield [
        {
            "name": "vendor",
            "url": f"https://{HOST}/vendor",
            "suite": "vendor-trixie",
            "components": ["main"],
            "packages": [TOOL.name],
            "key": armored(suited),
        },
        {
            "name": "flat",
            "url": f"https://{HOST}/flat",
            "suite": "./",
            "packages": [DRIVER.name],
            "key": armored(flat),
        },
    ]
    for signer in (suited, flat):
        stop_agent(signer)


@pytest.fixture(scope="module")
def system(
    world: World, sources: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """Under a policy that lists both."""
    folder = tmp_path_factory.mktemp("platform")
    pins = [
        {key: each[key] for key in ("url", "suite", "components") if key in each}
        | {"key": sha256(each["key"].encode())}
        for each in sources
    ]
    policy = yaml.safe_load((BUILT_IN / "default.yaml").read_text()) | {
        "name": "vendors",
        "apt_sources": pins,
    }
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy))
    made = System.start(folder / "state", world, policy=str(folder / "policy.yaml"))
    yield made
    made.stop()


def test_what_is_named_comes_from_each_and_is_installed_inside(
    system: System, world: World, sources: list[dict[str, Any]]
) -> None:
    run_id = system.request(
        "vendors", apt=[TOOL.name], apt_sources=sources, constraints=None, install=INSTALL, smoke=SMOKE
    )
    run = system.ended(run_id)
    assert run["state"] == "completed", (run["reason"], run.get("tail"))
    lock = system.lock(run)
    came = {each.name: each for each in lock.debian}
    assert set(came) == {TOOL.name, DRIVER.name, LIBRARY.name}
    pins = {name: each.source for name, each in came.items()}
    assert pins[LIBRARY.name] is None
    for deb, source in ((TOOL, sources[0]), (DRIVER, sources[1])):
        pin = pins[deb.name]
        assert pin is not None
        assert (pin.url, pin.suite, pin.key) == (
            source["url"],
            source["suite"],
            sha256(source["key"].encode()),
        )
        assert came[deb.name].sha256 == deb.built.sha256
    assert system.stored()["trixie"] == wanted(lock, run)["trixie"]
    assert (run["inner"]["missing"], run["inner"]["unexpected"]) == ([], [])
    assert world.proxy.refused == []
    # How far each repository has come is remembered where every later run finds it.
    flat = sources[1]
    for root, keys in (
        (f"{world.web.url}/debian/dists/trixie/", "debian-13.gpg"),
        (f"{flat['url']}/", sha256(flat["key"].encode())),
    ):
        seen = system.get("releases", sha256(f"{root} {keys}".encode())[7:39])
        assert 0 <= time.time() - seen["date"] < 86_400
