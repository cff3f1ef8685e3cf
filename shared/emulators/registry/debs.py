"""Reads what a Debian binary package says of itself.

The archive, an ar file of three members: https://manpages.debian.org/bookworm/dpkg-dev/deb.5.en.html.
The control file: https://www.debian.org/doc/debian-policy/ch-controlfields.html.
"""

import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shared.emulators.registry.problems import Problem

_MEMBER_LIMIT = 16 << 20
_CONTROL_LIMIT = 4 << 20
_MODES = {"control.tar": "r:", "control.tar.gz": "r:gz", "control.tar.xz": "r:xz"}
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_VERSION = re.compile(r"([0-9]+:)?[0-9A-Za-z.+~-]+")
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]*")
_FIELD = re.compile(r"([!-9;-~]+):[ \t]*(.*)")


@dataclass(frozen=True)
class Control:
    """The control file: its text, without empty lines, and the fields that name the package."""

    text: str
    package: str
    version: str
    architecture: str


def read_control(path: Path) -> Control:
    """The control file of the package at `path`; Problem 400 if it is not a Debian package."""
    with path.open("rb") as file:
        name, content = _control_member(file)
    if name in _MODES:
        text = _from_tar(content, _MODES[name])
    elif name == "control.tar.zst":
        text = _by_dpkg(path)
    else:
        raise Problem(400, f"The package's {name} is compressed in an unknown way.")
    return parse_control(text)


def parse_control(text: str) -> Control:
    """`text` as a Control; Problem 400 if it is no single stanza or lacks a field that every package has."""
    fields: dict[str, str] = {}
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    for line in lines:
        if line.startswith((" ", "\t")) and fields:
            continue
        match = _FIELD.fullmatch(line)
        if not match or match[1].lower() in fields:
            raise Problem(
                400, f"The package's control file has the malformed or repeated line {line[:80]!r}."
            )
        fields[match[1].lower()] = match[2]
    for key, pattern in (("package", _PACKAGE), ("version", _VERSION), ("architecture", _ARCHITECTURE)):
        if not pattern.fullmatch(fields.get(key, "")):
            raise Problem(
                400, f"The package's control file has the {key} {fields.get(key)!r}, which cannot be."
            )
    return Control("\n".join(lines), fields["package"], fields["version"], fields["architecture"])


def _control_member(file: BinaryIO) -> tuple[str, bytes]:
    for name, size in _members(file):
        if name.startswith("control.tar"):
            if size > _MEMBER_LIMIT:
                raise Problem(
                    400, f"The package's {name} has {size} bytes; at most {_MEMBER_LIMIT} are read."
                )
            return name, file.read(size)
        file.seek(size + size % 2, io.SEEK_CUR)
    raise Problem(400, "The upload is not a Debian package: it has no control.tar.")


def _members(file: BinaryIO) -> Iterator[tuple[str, int]]:
    """Names and sizes of the members of an ar archive; the file stands at a member's content when it is yielded."""
    if file.read(8) != b"!<arch>\n":
        raise Problem(400, "The upload is not a Debian package: it is no ar archive.")
    while header := file.read(60):
        size = header[48:58].strip()
        if len(header) != 60 or header[58:] != b"`\n" or not size.isdigit():
            raise Problem(400, "The upload is not a Debian package: an ar header is malformed.")
        yield header[:16].decode("latin-1").strip().rstrip("/"), int(size)


def _from_tar(content: bytes, mode: str) -> str:
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode=mode) as archive:  # type: ignore[call-overload]
            for member in archive:
                if member.name.removeprefix("./") == "control" and member.isfile():
                    if member.size > _CONTROL_LIMIT:
                        raise Problem(400, f"The package's control file has {member.size} bytes.")
                    file = archive.extractfile(member)
                    return file.read().decode() if file else ""
    except (tarfile.TarError, OSError, EOFError, UnicodeDecodeError) as error:
        raise Problem(400, f"The package's control archive cannot be read: {error}.") from error
    raise Problem(400, "The package has no control file.")


def _by_dpkg(path: Path) -> str:
    """The control file by dpkg-deb, which reads zstd (Ubuntu's choice); Python does from 3.14 on."""
    try:
        done = subprocess.run(["dpkg-deb", "--field", str(path)], capture_output=True, check=True, timeout=60)
        return done.stdout.decode()
    except FileNotFoundError as error:
        raise Problem(500, "A package compressed by zstd needs dpkg-deb: install dpkg.") from error
    except (subprocess.SubprocessError, UnicodeDecodeError) as error:
        raise Problem(400, f"The package's control archive cannot be read: {error}.") from error
