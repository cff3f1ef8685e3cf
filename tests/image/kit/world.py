"""A small service with everything that it is made of on this machine, and builds of it in processes of their own."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.image.inputs import Cache
from shared.image.spec import read, resolved_from, write_lock
from shared.model.image import ImageLock
from tests.image.python.support import Files, demo, interpreter
from tests.upstream.support import Reply, Web

ROOT = Path(__file__).parents[3]
SPEC = """\
name: demo_service
kind: python
source: src
base:
  packages: [libc6]
python:
  requirements: [demo==1.0]
ports: [8080]
"""


@dataclass
class World:
    """`folder/specs` holds the spec, its lock and its sources, `folder/inputs` what they are made of."""

    folder: Path
    web: Web
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def spec(self) -> Path:
        return self.folder / "specs" / "demo.yaml"

    @property
    def inputs(self) -> Path:
        return self.folder / "inputs"

    def copy(self, to: Path) -> World:
        """The same in another place."""
        shutil.copytree(self.folder, to)
        return World(to, self.web)


def make_world(folder: Path, web: Web) -> World:
    """Sources, debs and wheels by hand, each input served by `web` and in the cache."""
    world = World(folder, web)
    sources = world.spec.parent / "src"
    for name in ("main.py", "lib/__init__.py", "lib/Izmir.py", "lib/izmir.py", "lib/ä.txt", "run.sh"):
        path = sources / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n" * 50, encoding="utf-8")
    (sources / "run.sh").chmod(0o755)
    world.spec.write_text(SPEC)
    world.inputs.mkdir()
    made = folder / "made"
    made.mkdir()
    files = Files(made)
    interpreter(files)
    files.wheel("demo", demo(demo__more=b"y = 2\n" * 1000))
    tree = {
        "usr/bin/tool": b"tool",
        "usr/lib/libc.so.6": bytes(range(256)) * 2000,
        "usr/lib/libc.so": "libc.so.6",
    }
    files.deb("base", "libc6", tree)
    locked = []
    for each in files.inputs:
        content = files.paths[each.url].read_bytes()
        path = f"/{each.sha256[7:15]}/{each.filename}"
        web.routes[path] = Reply(content)
        locked.append(each.model_copy(update={"url": f"{web.url}{path}"}))
        place = Cache(world.inputs).place(each.sha256, each.filename)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    spec = read(world.spec)
    lock = ImageLock(
        image=spec.name, resolved_from=resolved_from(spec, world.spec.parent), inputs=tuple(locked)
    )
    write_lock(lock, world.spec)
    return world


def copied_checkout(to: Path, root: Path = ROOT) -> Path:
    """All that a build imports, and the child, in another place."""
    for name in ("shared", "functions", "tests/image/kit", "tests/image/python", "tests/upstream"):
        shutil.copytree(root / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "osv"))
    for name in ("tests", "tests/image"):
        (to / name / "__init__.py").touch()
    shutil.copy(root / "requirements.txt", to)
    return to


_numbers = itertools.count()


@dataclass
class Build:
    """How one build is run; what is not said is as in this process."""

    world: World
    scratch: Path
    command: tuple[str, ...] = ()
    """In front of the interpreter."""
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    root: Path = ROOT
    """The checkout; tests take a copy, which nobody edits while they run."""
    umask: int = -1
    codec: str = "gzip"
    out: Path | None = None
    layers: Path | None = None
    """Without one, a new and empty cache."""

    def words(self) -> list[str]:
        number = next(_numbers)
        out = self.out or self.scratch / f"out-{number}"
        layers = self.layers or self.scratch / f"layers-{number}"
        program = [self.python, "-P", "-m", "tests.image.kit.child"]
        return [
            *self.command,
            *program,
            *map(str, (self.world.spec, out, layers, self.world.inputs)),
            self.codec,
        ]

    def start(self, words: list[str] | None = None) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.environment,
        }
        return subprocess.Popen(
            words or self.words(),
            env=environment,
            cwd=self.scratch,
            umask=self.umask,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, words: list[str] | None = None) -> str:
        """What the child prints: the digests."""
        child = self.start(words)
        out, error = child.communicate(timeout=590)
        assert child.returncode == 0, error
        return out.strip()


def shuffled(spec: Path, seed: int) -> None:
    """Write the lock beside `spec` in another order, of inputs and of keys."""
    import random

    order = random.Random(seed)  # noqa: S311 - an order, no secret
    path = spec.with_name(f"{spec.stem}.lock.json")
    lock = json.loads(path.read_bytes())
    first = lock["inputs"][0]
    while lock["inputs"][0] == first:
        order.shuffle(lock["inputs"])
    lock["inputs"] = [dict(order.sample(list(each.items()), len(each))) for each in lock["inputs"]]
    path.write_text(json.dumps(dict(reversed(list(lock.items())))))
