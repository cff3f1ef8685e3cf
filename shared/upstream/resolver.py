"""Versions that fit together, found by uv's resolver over the index's metadata. Nothing of a package is run.

Requirements come from a hostile machine and end up in files that uv reads, so:
1. Every line is a requirement of PEP 508 by name: no option, no path, no URL.
2. uv builds nothing (`--no-build`): where it stops because a package has no wheel, the metadata that the package's
   source distribution states is put before it as a wheel without content, in a directory that only uv sees.
3. uv sees no configuration, cache, credential or environment variable but what stands here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path

import uv
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from shared.errors import Permanent, Transient
from shared.model.requirement import requirement
from shared.model.value import printable
from shared.ports.upstream import DEFAULT_PLATFORM, Pin
from shared.upstream import static_metadata
from shared.upstream.pypi import PYPI
from shared.upstream.static_metadata import StaticMetadata

_PLATFORM = re.compile(r"manylinux_2_([0-9]{1,3})_(x86_64|aarch64)", re.ASCII)
_GLIBC = (17, 28, *range(31, 41))
"""Minor versions of glibc 2 that uv knows as a target (uv pip compile --help, --python-platform)."""
_PASSED = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
_PYTHON = re.compile(r"3\.[0-9]{1,2}(\.[0-9]{1,2})?", re.ASCII)
_UNREACHABLE = re.compile(
    r"error sending request|Failed to fetch|dns error|timed out|Connection refused|HTTP status (server error|client "
    r"error \(429)|connection closed",
)
_NO_WHEEL = re.compile(
    r"Wheels are required for `([^`]+)` because building from source is disabled[^`]*`--no-build`\)\.?"
)
_WITHOUT_WHEEL = re.compile(r"Wheels are required for `([A-Za-z0-9._-]+)`")
_MAX_SOURCES = 50


def _no_sources(_name: str, _version: str) -> Sequence[StaticMetadata]:
    return ()


@dataclass(frozen=True)
class UvResolver:
    """`Resolver` by `uv pip compile`."""

    cache: Path
    """uv's cache; may be shared by resolutions against one index, so that the second is fast."""
    index: str = PYPI
    overrides: Sequence[str] = ()
    """uv overrides: replaces a requirement that a package declares wrongly. One that pins what is forbidden yields."""
    sources: Callable[[str, str], Sequence[StaticMetadata]] = _no_sources
    """(name, version, or empty where no version is asked for) to what the package's source distributions state."""
    timeout: float = 300.0
    """Seconds."""

    def resolve(
        self,
        requirements: Sequence[str],
        preferences: Sequence[Pin],
        forbidden: Sequence[str],
        python: str,
        absent: Sequence[str] = (),
        platform: str = DEFAULT_PLATFORM,
    ) -> tuple[Pin, ...]:
        """Pins sorted by name. Permanent with uv's explanation if nothing fits, Transient if the index is away."""
        if not _PYTHON.fullmatch(python):
            raise Permanent(f"'{printable(python, 40)}' is not a version of Python 3, like 3.12.")
        target = _target(platform)
        with tempfile.TemporaryDirectory(prefix="resolve-") as directory:
            work = Path(directory)
            wanted = _write(work / "requirements.in", requirements, "requirement")
            overrides = _binding(self.overrides, forbidden)
            _write(work / "constraints.txt", [*forbidden, *_held(requirements, overrides)], "constraint")
            # An override that never holds takes a requirement away, whoever has it.
            away = [f"{name} ; python_version < '3'" for name in absent]
            _write(work / "overrides.txt", [*overrides, *away], "override")
            preferred = _write(
                work / "pins.txt", (f"{p.name}=={p.version}" for p in preferences), "preference"
            )
            (work / "known").mkdir()
            versions = preferred | wanted
            tried: set[str] = set()
            while (errors := self._run(work, python, target)) is not None:
                names = set(_WITHOUT_WHEEL.findall(errors)) - tried
                if len(tried) > _MAX_SOURCES or not self._add_sources(names, versions, work / "known"):
                    raise _failure(errors, self.index)
                tried |= names
            return _pins((work / "pins.txt").read_text())

    def _add_sources(self, names: Iterable[str], versions: Mapping[str, str], known: Path) -> bool:
        """Put what source distributions state before uv (check 2); False if there is nothing to add."""
        found = [
            metadata
            for name in sorted(names)
            for metadata in self.sources(name, versions.get(canonicalize_name(name), ""))
        ]
        for metadata in found:
            static_metadata.write_empty_wheel(metadata, known)
        return bool(found)

    def _run(self, work: Path, python: str, target: str) -> str | None:
        """uv's words if it fails, None if it has written its answer."""
        command = [
            *(_program(), "pip", "compile", "requirements.in", "--output-file", "pins.txt"),
            *("--constraints", "constraints.txt", "--overrides", "overrides.txt", "--find-links", "known"),
            *("--python", sys.executable, "--python-version", python, "--python-platform", target),
            *(
                "--default-index",
                self.index,
                "--no-build",
                "--no-config",
                "--no-python-downloads",
                "--system-certs",
            ),  # 2
            *("--cache-dir", str(self.cache.resolve()), "--no-header", "--no-annotate", "--no-progress"),
            *("--color", "never", "--quiet"),
        ]
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(work),
            "LC_ALL": "C.UTF-8",
            **{name: os.environ[name] for name in _PASSED if name in os.environ},  # 3
        }
        try:
            done = subprocess.run(
                command,
                cwd=work,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Transient(f"The resolver found no answer within {self.timeout:.0f} seconds.") from error
        return done.stderr.decode("utf-8", "replace") if done.returncode != 0 else None


def _program() -> str:
    """uv itself, where its installer has recorded it, else where uv looks: that may be a directory of anybody's."""
    for file in files("uv") or ():
        path = Path(str(file.locate()))
        if file.name == "uv" and path.is_file():
            return str(path.resolve())
    return uv.find_uv_bin()


def _target(platform: str) -> str:
    """uv's name for the newest platform that it knows and that a machine of `platform` can run (PEP 600)."""
    match = _PLATFORM.fullmatch(platform)
    known = [minor for minor in _GLIBC if match and minor <= int(match[1])]
    if match is None or not known:
        raise Permanent(
            f"'{printable(platform, 60)}' is no platform to resolve for: x86-64 and arm64 with glibc 2.17 or later are."
        )
    return f"{match[2]}-manylinux_2_{known[-1]}"


def _binding(overrides: Sequence[str], forbidden: Sequence[str]) -> list[str]:
    """The overrides but those that pin a version that must not be."""
    never = {line.replace("!=", "==", 1) for line in forbidden if "!=" in line}

    def pins(line: str) -> set[str]:
        wanted = Requirement(line)
        exact = [each for each in wanted.specifier if each.operator in ("==", "===")]
        return {f"{canonicalize_name(wanted.name)}=={each.version}" for each in exact}

    return [line for line in overrides if not pins(line) & never]


def _held(requirements: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Versions that are asked for of what is overridden: to uv an override undoes even these, a constraint does not."""
    names = {canonicalize_name(Requirement(line).name) for line in overrides}
    if not names:
        return []
    asked = []
    for line in requirements:
        with suppress(InvalidRequirement):  # said when the requirements are written
            wanted = requirement(line)
            if canonicalize_name(wanted.name) in names and wanted.specifier:
                marker = f" ; {wanted.marker}" if wanted.marker else ""
                asked.append(f"{wanted.name}{wanted.specifier}{marker}")
    return asked


def _write(path: Path, lines: Iterable[str], what: str) -> dict[str, str]:
    """One checked line each (check 1); the versions that they pin, by name."""
    checked: list[str] = []
    pinned: dict[str, str] = {}
    for line in lines:
        try:
            wanted = requirement(line)
        except InvalidRequirement as error:
            raise Permanent(
                f"The {what} '{printable(line, 120)}' is not a requirement of PEP 508."
            ) from error
        if wanted.url:
            raise Permanent(f"The {what} '{printable(line, 120)}' does not name a package of the index.")
        checked.append(f"{wanted}\n")
        for specifier in wanted.specifier:
            if specifier.operator == "==" and "*" not in specifier.version:
                pinned[canonicalize_name(wanted.name)] = specifier.version
    path.write_text("".join(checked))
    return pinned


def _pins(text: str) -> tuple[Pin, ...]:
    pins = []
    for line in text.splitlines():
        name, separator, version = line.partition("==")
        if not line.strip() or line.startswith(("#", "--")):
            continue
        try:
            Version(version)
        except InvalidVersion as error:
            raise Permanent(
                f"The resolver answers '{printable(line, 120)}', which names no version."
            ) from error
        if separator:
            pins.append(Pin(canonicalize_name(name), version.strip()))
    return tuple(sorted(pins, key=lambda pin: pin.name))


def _failure(stderr: str, index: str) -> Permanent | Transient:
    """uv's explanation as one sentence."""
    text = " ".join(re.sub(r"[×╰─▶├│╭]|\bhint: |\bcause: ", " ", stderr).split())
    text = text.removeprefix("error: ").removeprefix("No solution found when resolving dependencies")
    text = _NO_WHEEL.sub(r"\1 has no usable wheel, and nothing is built to learn what it needs.", text)
    if "No solution found" not in stderr and _UNREACHABLE.search(stderr):
        return Transient(f"The resolver cannot reach {index}: {printable(text, 300)}")
    sentence = printable(text.lstrip(": "), 1500).rstrip(".")
    return Permanent(
        f"No versions fit together: {sentence}." if sentence else "The resolver failed without a reason."
    )
