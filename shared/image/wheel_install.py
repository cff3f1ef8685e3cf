"""Wheels as files of an image: what an installer would write, without writing it.

https://packaging.python.org/en/latest/specifications/binary-distribution-format/#installing-a-wheel-distribution-1-0-py32-none-any-whl

Checks:
1. The wheel is the locked file (`Inputs`), called as the lock says, and passes every check of `upstream.wheel`.
2. It follows version 1 of the format, and knows no place but purelib, platlib, scripts, headers and data.
3. No two of its files come to stand in one place, none outside the package's own directory (`Tree`).
4. Each file has the hash that RECORD gives it: proved while the layer is written, in the pass that inflates it.
5. A script's name is a plain file name, and what it calls is a plain reference to an object.

What comes of a wheel follows from its bytes, the service's name and the list of packages, and from nothing else.
RECORD's signatures and files that other installers leave (INSTALLER, direct_url.json, …) are not taken over, nor are
byte code files of unknown origin in `__pycache__`.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from email.parser import BytesHeaderParser
from email.policy import compat32
from pathlib import Path
from urllib.parse import unquote

from shared.errors import Permanent
from shared.guest.record import INSTALLER_FILES, Row
from shared.image import wheel_member
from shared.image.plan import Inputs
from shared.image.python_paths import Paths, repository
from shared.image.spool import constant
from shared.image.tree import File, Tree
from shared.model.image import LockedInput
from shared.model.value import printable
from shared.upstream import wheel

RECIPE = 1
"""Counts changes of what comes of the same wheels: a part of every key."""
INSTALLER = b"package-dmz\n"
_MAX_TEXT = 1024 * 1024
_SITE = "site-packages/"
_Found = tuple[zipfile.ZipInfo, Row]
_NAME = re.compile(r"\w[\w.+-]{0,100}", re.ASCII)
_OBJECT = re.compile(
    r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\s*\[[^\]]*\])?", re.ASCII
)


def packages_tree(wheels: Sequence[LockedInput], inputs: Inputs, paths: Paths) -> Tree:
    """Every wheel below its own directory. Permanent for the first that is refused."""
    tree = Tree()
    seen: dict[str, str] = {}
    for each in sorted(wheels, key=lambda each: each.filename):
        place = repository(each.name)
        if place in seen:
            raise Permanent(
                f"The lock has {seen[place]} and {each.filename}, one package twice; resolve it again."
            )
        seen[place] = each.filename
        _Installation(each, inputs(each), paths, tree).add()
    return tree


class _Installation:
    """One wheel on its way into a tree."""

    def __init__(self, locked: LockedInput, path: Path, paths: Paths, tree: Tree) -> None:
        self._locked, self._path, self._paths, self._tree = locked, path, paths, tree
        self._file = unquote(locked.filename)
        self._root = paths.package(locked.name)
        self._rows: list[Row] = []

    def add(self) -> None:
        with wheel.opened(self._path, self._file) as archive:
            examined = wheel.examine(archive, self._path.stat().st_size, self._file)  # 1
        if repository(examined.name) != repository(self._locked.name):
            raise Permanent(
                f"{self._file} is not a wheel of {self._locked.name}, as the lock says; resolve it again."
            )
        by_name = {info.filename: (info, row) for info, row in examined.files}
        self._check_format(by_name.get(f"{examined.dist_info}/WHEEL"))
        data = examined.dist_info.removesuffix(".dist-info") + ".data"
        for info, row in examined.files:
            self._add_member(info, row, examined.dist_info, data)
        for name, reference in self._entry_points(by_name.get(f"{examined.dist_info}/entry_points.txt")):
            self._add_bytes(f"bin/{name}", self._calling(name, reference), 0o755)
        self._add_bytes(f"{_SITE}{examined.dist_info}/INSTALLER", INSTALLER, 0o644)
        self._tree.add(
            f"{self._root}/{_SITE}{examined.dist_info}/RECORD",
            File(constant(self._record(examined.dist_info)), 0o644),
        )

    def _check_format(self, found: _Found | None) -> None:
        """Version 1 of the format (check 2)."""
        headers = BytesHeaderParser(policy=compat32).parsebytes(self._text(found, "WHEEL"))
        versions = [str(version).strip() for version in headers.get_all("Wheel-Version", [])]
        if len(versions) != 1 or not re.fullmatch(r"1\.[0-9]+", versions[0]):
            said = printable(", ".join(versions) or "none", 40)
            raise Permanent(f"{self._file} is of format version {said}; 1.0 to 1.x are known.")

    def _add_member(self, info: zipfile.ZipInfo, row: Row, dist_info: str, data: str) -> None:
        parts = info.filename.split("/")
        if parts[0] == dist_info and len(parts) == 2 and parts[1] in INSTALLER_FILES:
            return
        if parts[-1].endswith(".pyc") and "__pycache__" in parts[:-1]:
            return
        if parts[0] != data:
            self._add_file(_SITE + info.filename, info, row)
            return
        kind, rest = parts[1] if len(parts) > 2 else "", "/".join(parts[2:])
        match kind:
            case "purelib" | "platlib":
                self._add_file(_SITE + rest, info, row)
            case "scripts":
                self._add_script(rest, info, row)
            case "headers":
                self._add_file(f"include/{self._locked.name}/{rest}", info, row)
            case "data":
                self._add_file(rest, info, row)
            case _:  # 2
                raise Permanent(
                    f"{self._file} holds '{printable(info.filename, 120)}', and a wheel has no place of that name."
                )

    def _add_file(self, place: str, info: zipfile.ZipInfo, row: Row, *, program: bool = False) -> None:
        unix = info.create_system == 3
        mode = 0o755 if program or (unix and (info.external_attr >> 16) & 0o111) else 0o644
        self._tree.add(
            f"{self._root}/{place}", File(wheel_member.content(self._path, info, row, self._file), mode)
        )  # 3, 4
        self._rows.append((_relative(place), row[1], str(info.file_size)))

    def _add_script(self, name: str, info: zipfile.ZipInfo, row: Row) -> None:
        """A program of `.data/scripts`. One in Python gets a starter that knows interpreter and packages."""
        self._check_name(name)
        with wheel_member.content(self._path, info, row, self._file).open() as stream:
            python = stream.read(min(9, info.file_size)).startswith(b"#!python")
        if python:
            self._add_file(f"scripts/{name}", info, row)
            self._add_bytes(f"bin/{name}", self._running(f"{self._root}/scripts/{name}"), 0o755)
        else:
            self._add_file(f"bin/{name}", info, row, program=True)

    def _add_bytes(self, place: str, content: bytes, mode: int) -> None:
        self._tree.add(f"{self._root}/{place}", File(constant(content), mode))
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        self._rows.append((_relative(place), f"sha256={digest}", str(len(content))))

    def _entry_points(self, found: _Found | None) -> Iterable[tuple[str, re.Match[str]]]:
        """https://packaging.python.org/en/latest/specifications/entry-points/ (check 5)"""
        if found is None:
            return
        parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
        parser.optionxform = str  # type: ignore[assignment, method-assign]  # names are case-sensitive
        try:
            parser.read_string(self._text(found, "entry_points.txt").decode())
        except (configparser.Error, UnicodeDecodeError) as error:
            said = printable(" ".join(str(error).split()), 120)
            raise Permanent(f"{self._file} has an entry_points.txt that cannot be read: {said}.") from error
        for section in ("console_scripts", "gui_scripts"):
            for name, value in sorted(parser.items(section) if parser.has_section(section) else ()):
                self._check_name(name)
                reference = _OBJECT.fullmatch(value.strip())
                if reference is None:
                    said = printable(value, 80)
                    raise Permanent(
                        f"{self._file} has the script {name}, which calls no plain object: '{said}'."
                    )
                yield name, reference

    def _calling(self, name: str, reference: re.Match[str]) -> bytes:
        module, attribute = reference[1], reference[2]
        first = attribute.partition(".")[0]
        body = f'sys.argv[0] = "/{self._root}/bin/{name}"\nfrom {module} import {first}\n\nsys.exit({attribute}())'
        return self._paths.script(body)

    def _running(self, program: str) -> bytes:
        return self._paths.script(f'runpy.run_path("/{program}", run_name="__main__")', imports="runpy sys")

    def _check_name(self, name: str) -> None:
        if not _NAME.fullmatch(name):  # 5
            raise Permanent(
                f"{self._file} has a script of the name '{printable(name, 120)}', which is refused."
            )

    def _record(self, dist_info: str) -> bytes:
        """RECORD of the installation: sorted, one line feed a row, itself without hash."""
        text = io.StringIO(newline="")
        rows = sorted([*self._rows, (f"{dist_info}/RECORD", "", "")], key=lambda row: row[0].encode())
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().encode()

    def _text(self, found: _Found | None, name: str) -> bytes:
        if found is None or found[0].file_size > _MAX_TEXT:
            raise Permanent(f"{self._file} has no {name} of sound size; it is refused.")
        return wheel_member.read(self._path, *found, self._file)


def _relative(place: str) -> str:
    """A path below the package's directory as RECORD has it: relative to site-packages."""
    return place.removeprefix(_SITE) if place.startswith(_SITE) else f"../{place}"
