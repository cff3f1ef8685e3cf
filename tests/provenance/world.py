"""A project whose image two builders build: spec, lock, sources and inputs, without the network."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from functions.ctl import cli
from shared.appraisal import statement
from shared.appraisal.dsse import read
from shared.appraisal.signer import FileSigner, new_key
from shared.image import spec as specs
from shared.image.inputs import Cache
from tests.image.python.support import SPEC, Files, demo, interpreter

ALICE, BOB = "https://builders.example/alice", "https://builders.example/bob"


@dataclass
class World:
    """A spec with its lock, sources and cached inputs, and two builders' keys."""

    at: Path
    home: Path

    @property
    def spec(self) -> Path:
        return self.at / "demo_service.yaml"

    def key(self, name: str) -> Path:
        path = self.home / f"{name}.pem"
        if not path.exists():
            new_key(path)
        return path

    def rebuild(self, name: str, builder: str, *words: str) -> int:
        """Exit code of ./dmz rebuild; the envelope is in `home/NAME.json`."""
        out = self.home / f"{name}.json"
        given = ("--key", str(self.key(name)), "--builder", builder, "--out", str(out))
        return cli.main(["rebuild", str(self.spec), *given, "--config", str(self.config), *words])

    @property
    def config(self) -> Path:
        return self.home / "config.json"

    def stated(self, name: str) -> Any:
        return statement.read(read((self.home / f"{name}.json").read_text().strip()).unverified_payload)

    def builders(self, threshold: int = 2) -> Path:
        path = self.home / "builders.yaml"
        listed = [
            {"id": id, "keys": [FileSigner(self.key(name)).public_pem]}
            for name, id in (("alice", ALICE), ("bob", BOB))
        ]
        content = {"threshold": threshold, "validity_seconds": 86400, "builders": listed}
        path.write_text(yaml.safe_dump(content))
        return path


def made(tmp_path: Path) -> World:
    """A world whose inputs are in the cache that XDG_CACHE_HOME names."""
    found = World(tmp_path / "project", tmp_path / "home")
    for directory in (found.at / "src", found.home, tmp_path / "made"):
        directory.mkdir(parents=True)
    (found.at / "src/main.py").write_text("import demo\n")
    files = Files(tmp_path / "made")
    files.deb("base", "libc6", {"usr/lib/libc.so.6": b"\x7fELF libc"})
    interpreter(files)
    files.wheel("demo", demo())
    cache = Cache()
    for wanted, path in ((each, files.paths[each.url]) for each in files.inputs):
        cache.keep(path.read_bytes(), wanted.filename)
    found.spec.write_text(json.dumps(SPEC.model_dump(mode="json", exclude_defaults=True)))
    spec = specs.read(found.spec)
    lock = files.lock(spec).model_copy(update={"resolved_from": specs.resolved_from(spec, found.at)})
    specs.write_lock(lock, found.spec)
    return found


def git(world: World, *words: str) -> str:
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ("git", "-C", str(world.at), *identity, *words),
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | own,
    ).stdout.strip()


def committed(world: World) -> str:
    git(world, "init", "-q")
    git(world, "add", "-A")
    git(world, "commit", "-q", "-m", "all")
    return git(world, "rev-parse", "HEAD")
