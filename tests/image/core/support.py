"""Small images for tests."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path

from shared.image.build import build
from shared.image.plan import Config, Layer, Plan, Ready
from shared.image.tree import Content, Directory, File, Link, Node, Tree
from shared.model.image import BuiltImage, Codec, ImageLock, ImageSpec
from shared.model.value import sha256

SPEC = ImageSpec.check(
    {
        "name": "sample",
        "kind": "python",
        "source": "src",
        "base": {"packages": ["libc6"]},
        "python": {},
    },
    "the sample",
)
LOCK = ImageLock(image="sample", resolved_from=sha256(b""), inputs=())
CONFIG = Config(
    entrypoint=("/sample/sample",),
    cmd=("--port", "8080"),
    env={"PATH": "/usr/bin", "LANG": "C.UTF-8"},
    labels={"tee.launch_policy.log_redirect": "always"},
    ports=(8080,),
)


def content(data: bytes, size: int | None = None, same: str = "") -> Content:
    return Content(len(data) if size is None else size, lambda: io.BytesIO(data), same)


def file(data: bytes, mode: int = 0o644) -> File:
    return File(content(data), mode)


def noise(size: int, seed: str = "noise") -> bytes:
    return hashlib.shake_256(seed.encode()).digest(size)


def layer(name: str, nodes: Mapping[str, Node], key: str = "") -> Layer:
    """Its key is its name unless another one is given: it stands for the digests of its inputs."""

    def tree() -> Tree:
        made = Tree()
        for path, node in nodes.items():
            made.add(path, node)
        return made

    return Layer(name, key or f"key of {name}", tree)


BASE = {
    "usr/bin/tool": file(b"#!/bin/sh\nexit 0\n", 0o755),
    "usr/lib/libbig.so": file(noise(1_200_000)),
    "bin": Link("usr/bin"),
    "tmp": Directory(0o1777),
}
APP = {"sample/sample": file(b"#!/usr/bin/python3\n", 0o755), "sample/main.py": file(b"print(1)\n")}


def sample(*more: Layer | Ready, app: Mapping[str, Node] = APP, app_key: str = "") -> Plan:
    return Plan((layer("base", BASE), layer("app", app, app_key), *more), CONFIG)


def made(
    tmp: Path, out: str = "out", plan: Plan | None = None, codec: Codec = "gzip", cache: str = "cache"
) -> BuiltImage:
    return build(plan or sample(), SPEC, LOCK, tmp / out, codec, tmp / cache)


def files(directory: Path) -> dict[str, bytes]:
    return {
        os.fspath(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
