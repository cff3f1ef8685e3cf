"""The samples' real inputs, fetched once for all tests of a session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.image import java, roots
from shared.image import spec as specs
from shared.image.inputs import Cache
from shared.image.tree import File
from shared.model.image import ImageLock, ImageSpec, LockedInput
from tests.image.java.support import Files


@dataclass
class Workshop:
    """Builds services out of the samples' locked compilers and whatever a test brings."""

    cache: Cache
    files: Files
    layers: Path
    own: dict[str, LockedInput] = field(default_factory=dict)
    built: dict[str, tuple[str, dict[str, bytes]]] = field(default_factory=dict)

    def path(self, locked: LockedInput) -> Path:
        return self.files.path(locked) if locked.sha256 in self.own else self.cache.path(locked)

    def add_jar(self, name: str, data: bytes, filename: str, path: str = "") -> LockedInput:
        locked = self.files.add("jar", name, data, filename, path)
        self.own[locked.sha256] = locked
        return locked

    def sample(self, name: str) -> tuple[ImageSpec, Path, ImageLock]:
        path = specs.find(name)
        spec = specs.read(path)
        lock = specs.read_lock(spec, path)
        self.cache.prefetch([each for each in lock.inputs if each.role != "base"])
        return spec, path.parent / spec.source, lock

    def jdk(self) -> Path:
        _, _, lock = self.sample("sample_java")
        return roots.root([each for each in lock.inputs if each.role == "jdk"], self.path)

    def workload(self, spec: ImageSpec, source: Path, lock: ImageLock) -> tuple[str, dict[str, bytes]]:
        """The key of the layer that the service is, and its files."""
        layer = java.layers(spec, source, lock, self.path)[-1]
        files = {}
        for path, node in layer.tree().entries():
            assert isinstance(node, File)
            with node.content.open() as stream:
                files[path] = stream.read()
        return layer.key, files

    def sample_workload(self, name: str) -> tuple[str, dict[str, bytes]]:
        """The sample's workload, built once."""
        if name not in self.built:
            self.built[name] = self.workload(*self.sample(name))
        return self.built[name]


@pytest.fixture(scope="package")  # its cache is no other room's: the variable goes with the last test here
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    where = tmp_path_factory.mktemp("workshop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(where))
        yield Workshop(Cache(), Files(where / "own"), where / "layers")
