"""A second instance of a stage, as Cloud Run adds them: every event comes to both, and either may stand still."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx

from functions.local.layout import CHECKOUT
from functions.local.ports import choose, speaks_http
from shared.events import SUBSCRIBERS
from tests.chain.system import System, eventually
from tests.faults import instance

_CLOCK = "clock-twin"


class Twin:
    """A process like the stage's own: the same program, environment and relays, at another port."""

    def __init__(self, system: System, stage: str, sources: Path) -> None:
        """`sources`: where the kit has its stages from (`tests.faults.instance`)."""
        self._system, self.stage, self._sources = system, stage, sources
        self.set_clock(0.0)
        self._base = f"http://{system.up.addresses['pubsub']}/v1/projects/{system.up.project}"
        original = Path(f"/proc/{system.pid(stage)}")
        environment = dict(pair.split("=", 1) for pair in _words(original / "environ") if "=" in pair)
        environment[instance.CLOCK] = _CLOCK
        command = _words(original / "cmdline")
        self._port = choose(["twin"], None)["twin"]
        command[command.index("--port") + 1] = str(self._port)
        with (system.layout.logs / f"{stage}-twin.log").open("ab") as log:
            self._running = subprocess.Popen(
                ("setpriv", "--pdeathsig", "KILL", *command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=CHECKOUT,
                env=environment,
                start_new_session=True,
            )
        eventually(lambda: speaks_http(self._port), f"the second instance of {stage}")

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Every event of the stage comes here as well."""
        names = {topic: f"{self._base}/subscriptions/{self.stage}-twin--{topic}" for topic in self._topics}
        with httpx.Client(timeout=60, trust_env=False) as client:
            for topic, name in names.items():
                whole = f"projects/{self._system.up.project}/topics/{topic}"
                content = {
                    "topic": whole,
                    "pushConfig": {"pushEndpoint": f"http://127.0.0.1:{self._port}/{whole}"},
                    "ackDeadlineSeconds": 600,
                }
                assert client.put(name, json=content).status_code == 200
            try:
                yield
            finally:
                for name in names.values():
                    client.delete(name)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        os.killpg(self._running.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._running.pid, signal.SIGCONT)

    def set_clock(self, seconds: float) -> None:
        """This instance's clock is ahead of the machine's by so much, or behind; the first one's is not."""
        instance.set_clock(self._sources, self.stage, seconds, _CLOCK)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._running.pid, signal.SIGKILL)
        self._running.wait()

    @property
    def _topics(self) -> list[str]:
        return [topic for topic in SUBSCRIBERS[self.stage] if topic != "sweep-requested"]


def _words(path: Path) -> list[str]:
    return [word.decode() for word in path.read_bytes().split(b"\0") if word]
