"""A platform for tests: the real supervisor, small functions in the stages' places, its state in a path with spaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from functions.local import platform, project
from functions.local.layout import CHECKOUT, Layout, layout
from functions.local.platform import Platform

FUNCTION = """
import json, os, pathlib, time
import functions_framework
import google.auth
from google.auth.transport.requests import Request

@functions_framework.cloud_event
def handle(cloud_event):
    message = cloud_event.data["message"]
    if message.get("attributes", {}).get("slow"):
        time.sleep(1)
    credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    credentials.refresh(Request())
    topic = cloud_event["source"].rsplit("/", 1)[-1]
    seen = {"topic": topic, "id": message["messageId"], "token": credentials.token, "pid": os.getppid()}
    with open(pathlib.Path(__file__).parent / "seen", "a") as file:
        file.write(json.dumps(seen) + "\\n")
"""
RUN = """
import os, signal, sys
from pathlib import Path
from functions.local.layout import Layout
from functions.local.supervisor import Choice, Supervisor
layout = Layout(Path(sys.argv[1]), Path(sys.argv[2]))
supervisor = Supervisor(Choice(layout, dict(os.environ), sys.argv[4], Path(sys.argv[3])))
signal.signal(signal.SIGTERM, lambda *_: supervisor.stop())
try:
    supervisor.run()
except Exception as error:
    sys.exit(str(error))
"""


class Up:
    """One platform of the test's own."""

    def __init__(
        self, directory: Path, broker: str = "sdk", variables: Mapping[str, str] | None = None
    ) -> None:
        # The user's cache: the root image is made once a day.
        self.layout = Layout(directory / "state of it", layout(os.environ).cache)
        self.functions, self._broker, self._variables = directory / "functions", broker, dict(variables or {})
        for stage in project.STAGES:
            (self.functions / stage).mkdir(parents=True)
            (self.functions / stage / "main.py").write_text(FUNCTION)
        (self.functions / project.CONSOLE).symlink_to(CHECKOUT / "functions" / project.CONSOLE)

    def spawn(self) -> subprocess.Popen[str]:
        places = (self.layout.home, self.layout.cache, self.functions)
        return subprocess.Popen(
            (sys.executable, "-c", RUN, *map(os.fspath, places), self._broker),
            env=os.environ | {"PYTHONPATH": os.fspath(CHECKOUT)} | self._variables,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def start(self) -> Platform:
        self.supervisor = self.spawn()
        deadline = time.monotonic() + 900
        while not (up := platform.read(self.layout.platform)):
            if self.supervisor.poll() is not None:
                raise AssertionError(self.supervisor.communicate()[1])
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return up

    def stop(self) -> tuple[int, str]:
        """Exit code and what it said."""
        self.supervisor.terminate()
        said = self.supervisor.communicate(timeout=60)[1]
        return self.supervisor.returncode, said

    def running(self) -> Platform:
        found = platform.read(self.layout.platform)
        assert found
        return found

    def seen(self, stage: str, topic: str) -> list[dict[str, str]]:
        """What a stage's function got of one topic."""
        path = self.functions / stage / "seen"
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [one for one in found if one["topic"] == topic]


def eventually(check: Callable[[], object]) -> None:
    """How soon is no test's business on a shared machine."""
    deadline = time.monotonic() + 300
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)
