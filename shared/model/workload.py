"""A workload: what to install, how, and how to see that it works. Data that a user writes, one small file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from pydantic import AfterValidator, Field, field_validator

from shared.errors import Permanent
from shared.model.package import DebianName, HttpsUrl
from shared.model.value import Digest, Value, printable

BUILT_IN = Path(__file__).parent.parent / "data" / "workloads"
_MAX_FILE = 256 * 1024

Line = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]


def _override(line: str) -> str:
    try:
        Requirement(line)
    except InvalidRequirement as error:
        raise ValueError(
            f"this is no requirement as PEP 508 has it ({str(error).splitlines()[0]}): write NAME==VERSION or the like"
        ) from error
    return line


def _constraint(line: str) -> str:
    if Requirement(_override(line)).extras:
        raise ValueError("pip takes no extras in a constraint: leave out what stands in brackets")
    return line


Override = Annotated[Line, AfterValidator(_override)]
Constraint = Annotated[Line, AfterValidator(_constraint)]


class OwnWheel(Value):
    """A wheel of the user's own, which no index has."""

    path: Annotated[str, Field(min_length=1, max_length=1000)]
    sha256: Digest

    @property
    def filename(self) -> str:
        return Path(self.path).name


class Workload(Value):
    """One workload. The same install script runs in the outer and in the inner VM."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    description: Annotated[str, Field(max_length=500)] = ""
    runtime_version: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
    """TPU software version (https://cloud.google.com/tpu/docs/runtimes); the local platform boots Debian 13 for it."""
    accelerator_type: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    apt: tuple[DebianName, ...] = ()
    """Installed before the script runs, with their dependencies and without recommendations."""
    constraints: tuple[Constraint, ...] = ()
    """pip constraints in the outer VM; in the inner VM the lock takes their place."""
    overrides: tuple[Override, ...] = ()
    """uv overrides in both VMs: replaces a requirement that a package declares wrongly."""
    install: Annotated[str, Field(min_length=1, max_length=64 * 1024)]
    """A bash script, run as root with `set -euo pipefail`."""
    smoke: Annotated[str, Field(min_length=1, max_length=64 * 1024)]
    """A bash script that exits 0 if the workload works. Runs in the inner VM only."""
    environment: dict[
        Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]{0,63}$")], Annotated[str, Field(max_length=4096)]
    ] = {}
    wheels: tuple[OwnWheel, ...] = ()
    files: tuple[HttpsUrl, ...] = ()
    """URLs that the install script gives to dmz-fetch without writing them out, as whole words, itself."""
    after: Literal["keep", "delete"] = "keep"
    """What becomes of the inner VM when the run has completed."""
    install_minutes: Annotated[int, Field(ge=1, le=240)] = 45
    """After so many minutes without a report a VM's install has failed."""

    @field_validator("install", "smoke")
    @classmethod
    def _plain(cls, text: str) -> str:
        if "\x00" in text:
            raise ValueError("a script holds no NUL character")
        return text

    @property
    def urls(self) -> frozenset[str]:
        """What dmz-fetch may bring: whole words of the install script, between blanks or quotes, and `files`."""
        return frozenset(word for word in _WORDS.split(self.install) if word.startswith("https://")) | {
            *self.files
        }


_WORDS = re.compile(r"""[\s'"]+""")


class _Plain(yaml.SafeLoader):
    """YAML without aliases, which can grow without bound, and without a key that stands twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="an alias is not read, write the value out", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read(path: Path) -> Workload:
    """The workload in the YAML file at `path`; Permanent with the mistake and its place."""
    shown = printable(str(path), 300)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        words = error.strerror if isinstance(error, OSError) else str(error)
        raise Permanent(f"The workload file {shown} cannot be read: {words}.") from error
    if len(data) > _MAX_FILE:
        raise Permanent(f"The workload file {shown} is too large: at most {_MAX_FILE} bytes are read.")
    try:
        loader = _Plain(data)
        node = loader.get_single_node()
        content = loader.construct_document(node) if node else None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        first = printable(" ".join(str(error).split()), 300)
        raise Permanent(f"The workload file {shown} is not YAML as it is read here: {first}.") from error
    except RecursionError as error:
        raise Permanent(f"The workload file {shown} is nested too deeply.") from error
    if not isinstance(content, dict):
        raise Permanent(f"The workload file {shown} must be a mapping with at least name, install and smoke.")
    return Workload.check(content, f"The workload file {shown}", lambda loc: _line(node, loc))


def _line(node: yaml.Node | None, loc: Sequence[int | str]) -> str:
    """The line where the field at `loc` stands, or the innermost part of it that there is."""
    mark = None
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pairs = {str(key.value): (key, value) for key, value in node.value}
            if str(part) not in pairs:
                break
            key, node = pairs[str(part)]
            mark = key.start_mark
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
    return f" (line {mark.line + 1})" if mark else ""


def built_in() -> tuple[str, ...]:
    """Names of the workloads that come with the project."""
    return tuple(sorted(path.stem for path in BUILT_IN.glob("*.yaml")))


def find(name_or_path: str) -> Workload:
    """A built-in workload by name, or the user's own by path."""
    if name_or_path in built_in():
        return read(BUILT_IN / f"{name_or_path}.yaml")
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or path.exists():
        return read(path)
    raise Permanent(
        f"There is no workload '{printable(name_or_path, 100)}': give one of {', '.join(built_in())}, "
        "or the path of a workload file."
    )
