"""The wheels of a Python image: versions by uv's resolver, files by the tags that the image's own Python takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from packaging.tags import Tag

from shared.errors import Permanent
from shared.image.inputs import Cache
from shared.model.image import LockedInput
from shared.ports import Pin, PythonIndex, Resolver
from shared.upstream import tags

_INTERPRETER = re.compile(r"python(3\.[0-9]+)-minimal")
_UPSTREAM = re.compile(r"(?:[0-9]+:)?(3\.[0-9]+\.[0-9]+)")
_LIBC = re.compile(r"2\.([0-9]{1,2})")
_PARALLEL = 8


@dataclass(frozen=True)
class Machine:
    """What decides which wheels fit."""

    python: str
    """Like 3.11.2."""
    libc: str
    """Version of the package libc6."""

    @property
    def platform(self) -> str:
        found = _LIBC.match(self.libc)
        return f"manylinux_2_{found[1]}_x86_64" if found else "manylinux_2_28_x86_64"

    @property
    def tags(self) -> tuple[Tag, ...]:
        return tags.for_machine("amd64", self.libc, self.python)


def machine(interpreter: Sequence[str], packages: Sequence[LockedInput]) -> Machine:
    """The image's own, told from its packages. Permanent if none of them is python3.N-minimal."""
    names = [name for name in interpreter if _INTERPRETER.fullmatch(name)]
    if len(names) != 1:
        raise Permanent(
            "Exactly one package of python.interpreter is the interpreter itself, like python3.11-minimal; "
            f"here there are {len(names)}."
        )
    versions = {each.name: each.version for each in packages if each.role in ("base", "interpreter")}
    found = _UPSTREAM.match(versions.get(names[0], ""))
    if found is None:
        raise Permanent(f"The version of {names[0]} is not one of Python's.")
    return Machine(found[1], versions.get("libc6", "2.28"))


def locked(
    requirements: Sequence[str], on: Machine, index: PythonIndex, resolver: Resolver, cache: Cache
) -> Iterator[LockedInput]:
    """A wheel for each package that the requirements come to. Permanent for one that has none."""
    pins = resolver.resolve(requirements, (), (), on.python, platform=on.platform)
    index.prefetch(pin.name for pin in pins)
    supported = on.tags

    def wheel(pin: Pin) -> LockedInput:
        file = tags.best(index.files(pin.name), pin.version, supported, on.python)
        if file is None or not file.filename.endswith(".whl"):
            raise Permanent(
                f"{pin.name} {pin.version} has no wheel for Python {on.python} on x86-64 with glibc {on.libc}; "
                "ask for a version that has, or build one and give an index that has it."
            )
        _, size = cache.fetch(file.url, file.sha256)
        return LockedInput(
            role="wheel", name=pin.name, version=pin.version, url=file.url, sha256=file.sha256, size=size
        )

    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="wheels") as pool:
        yield from pool.map(wheel, pins)
