"""The wheels of a Python image: versions by uv's resolver, files by the tags that the image's own Python takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag
from packaging.utils import canonicalize_name

from shared.errors import Permanent
from shared.image.inputs import Cache
from shared.model.image import LockedInput
from shared.model.value import printable
from shared.ports.upstream import IndexFile, Pin, PythonIndex, Resolver
from shared.upstream import tags

_INTERPRETER = re.compile(r"python(3\.[0-9]+)-minimal")
_UPSTREAM = re.compile(r"(?:[0-9]+:)?(3\.[0-9]+\.[0-9]+)")
_LIBC = re.compile(r"2\.([0-9]{1,2})")
_EXACT = re.compile(r"==([^*,\s]+)")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
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
    def markers(self) -> dict[str, str]:
        """https://packaging.python.org/en/latest/specifications/dependency-specifiers/#environment-markers"""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.python,
            "os_name": "posix",
            "platform_machine": "x86_64",
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python,
            "python_version": ".".join(self.python.split(".")[:2]),
            "sys_platform": "linux",
        }

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


def pinned(text: bytes, name: str, on: Machine, index: PythonIndex, cache: Cache) -> Iterator[LockedInput]:
    """A wheel for each line of a requirements file with versions and hashes, `text`, that counts on this machine.

    1. Each line is `NAME==VERSION`, a marker if it has one, and hashes; no option, URL or range.
    2. The file has one of the hashes that stand in the line.
    Permanent for a line or a package that breaks one of them, `name` being the file's in the sentence.
    """
    wanted = dict(_pins(text, name, on))
    index.prefetch(pin.name for pin in wanted)

    def wheel(pin: Pin) -> LockedInput:
        vouched = [file for file in index.files(pin.name) if file.sha256 in wanted[pin]]  # 2
        return _wheel(pin, vouched, on, cache)

    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="wheels") as pool:
        yield from pool.map(wheel, wanted)


def _pins(text: bytes, name: str, on: Machine) -> Iterator[tuple[Pin, frozenset[str]]]:
    """What a requirements file pins for this machine, with the hashes; 1."""
    lines = text.decode(errors="replace").replace("\\\n", " ").splitlines()
    for line in lines:
        stated, *hashes = re.split(r"\s--hash=", line.partition("#")[0].strip())
        if not stated:
            continue
        try:
            found = Requirement(stated.strip())
        except InvalidRequirement as error:
            raise _not_pinned(name, line) from error
        version = _EXACT.fullmatch(str(found.specifier))
        digests = frozenset(each.strip() for each in hashes)
        if not version or found.url or not digests or not all(_SHA256.fullmatch(each) for each in digests):
            raise _not_pinned(name, line)
        if found.marker is None or found.marker.evaluate(on.markers):
            yield Pin(canonicalize_name(found.name), version[1]), digests


def _not_pinned(name: str, line: str) -> Permanent:
    return Permanent(
        f"{name} has the line '{printable(line.strip(), 80)}', which is no NAME==VERSION --hash=sha256:…; pin it with "
        "uv pip compile --generate-hashes."
    )


def locked(
    requirements: Sequence[str], on: Machine, index: PythonIndex, resolver: Resolver, cache: Cache
) -> Iterator[LockedInput]:
    """A wheel for each package that the requirements come to. Permanent for one that has none."""
    pins = resolver.resolve(requirements, (), (), on.python, platform=on.platform)
    index.prefetch(pin.name for pin in pins)
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="wheels") as pool:
        yield from pool.map(lambda pin: _wheel(pin, index.files(pin.name), on, cache), pins)


def _wheel(pin: Pin, files: Sequence[IndexFile], on: Machine, cache: Cache) -> LockedInput:
    file = tags.best(files, pin.version, on.tags, on.python)
    if file is None or not file.filename.endswith(".whl"):
        raise Permanent(
            f"{pin.name} {pin.version} has no wheel for Python {on.python} on x86-64 with glibc {on.libc}; "
            "ask for a version that has, or build one and give an index that has it."
        )
    _, size = cache.fetch(file.url, file.sha256)
    return LockedInput(
        role="wheel", name=pin.name, version=pin.version, url=file.url, sha256=file.sha256, size=size
    )
