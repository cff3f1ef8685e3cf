"""A world with its stages, in memory, which answers where a platform that is up would."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from functions.local import memory, twins
from functions.local.layout import Layout
from functions.local.ports import choose
from tests.ctl.test_command_line import a_platform
from tests.stages.world import World


@contextmanager
def answering(world: World, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Layout, str]]:
    """Its state directory, to which DMZ_HOME leads, and its HOST:PORT."""
    port = choose(["memory"], None)["memory"]
    server = twins.serve(world, port)  # it has the twins' parts
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    layout = Layout(directory / "state", directory)
    layout.prepare()
    address = f"127.0.0.1:{port}"
    environment = {"GOOGLE_CLOUD_PROJECT": "dmz-local", memory.ADDRESS: address}
    up = dataclasses.replace(a_platform(directory), addresses={"pubsub": address}, environment=environment)
    up.write(layout.platform)
    # What the command sets, the next test finds as it was.
    for name in (*environment, "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setenv("DMZ_HOME", os.fspath(layout.home))
    yield layout, address
    server.shutdown()
    server.server_close()
    world.bus.close()
