"""A process that carries wheels through sync's own path and says how much memory it has ever needed.

Arguments: the address of the server, then file names with sha256 and `index` or `own`, where they come from. For each:
one line, the peak in KiB after it.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from shared.carrier import Carrier
from shared.gcp.registry import ArtifactRegistry
from shared.memory.store import MemoryStore
from shared.model.lock import LockedPython
from shared.model.plan import Transfer
from shared.ports.upstream import Upstream
from shared.settings import Settings
from shared.upstream.download import Downloader
from shared.upstream.proof import Prover


def _peak() -> str:
    """Of this program alone: ru_maxrss would begin with what the process had before exec (proc_pid_status(5))."""
    found = re.search(r"^VmHWM:\s+([0-9]+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return found[1]


def main(server: str, *files: str) -> None:
    settings = Settings(project="memory-test", registry_endpoint=server)
    registry = ArtifactRegistry(settings)
    registry.__dict__["_credentials"] = SimpleNamespace(valid=True, token="t")  # as google.auth.default
    upstream = cast("Upstream", SimpleNamespace(downloads=Downloader(), proof=Prover()))
    store: Any = MemoryStore()
    carrier = Carrier(store, registry, upstream, settings, time.time, "run-0")
    for filename, digest, where in zip(files[::3], files[1::3], files[2::3], strict=True):
        name, version, *_ = filename.split("-")
        url = f"own:{digest}" if where == "own" else f"{server}/{filename}"
        wheel = LockedPython(
            name=name, version=version, filename=filename, sha256=digest, url=url, record=None
        )
        with tempfile.TemporaryDirectory() as folder:
            carrier.bring(Transfer(repository="dmz-python", python=wheel), Path(folder))
            assert not [*Path(folder).iterdir()], "what was uploaded is still on the disk"
        print(_peak(), flush=True)


main(*sys.argv[1:])
