"""How pip, uv and apt are set up for a role: files below /etc and the environment of every command.

Settings stand in both places: a script may clean its environment, and a tool may read no file.
"""

from __future__ import annotations

import configparser
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared.guest import process

ETC = Path("/etc/dmz")
CONSTRAINTS = ETC / "constraints.txt"
OVERRIDES = ETC / "overrides.txt"
WHEELS = Path("/opt/dmz/wheels")
PIP_CONF = Path("/etc/pip.conf")
POLICY = Path("/usr/sbin/policy-rc.d")

_APT = """// Written by the DMZ guest: the archives are hashed after the install.
APT::Keep-Downloaded-Packages "true";
Binary::apt::APT::Keep-Downloaded-Packages "true";
Binary::apt-get::APT::Keep-Downloaded-Packages "true";
APT::Get::Assume-Yes "true";
APT::Install-Recommends "false";
Dpkg::Use-Pty "false";
// No fsync per file: a machine that loses power while it installs is made anew, not repaired.
Dpkg::Options { "--force-confdef"; "--force-confold"; "--force-unsafe-io"; };
Acquire::Retries "5";
// A fresh machine may be updating itself.
DPkg::Lock::Timeout "600";
"""


def configure(
    constraints: Sequence[str], overrides: Sequence[str], pip: Mapping[str, str], *, keep: bool = True
) -> dict[str, str]:
    """Write the settings; the environment that points every command at them.

    `pip` are more keys of pip.conf; with `keep` they are added to what the image's own says.
    """
    ETC.mkdir(parents=True, exist_ok=True)
    CONSTRAINTS.write_text(_lines(constraints), encoding="utf-8")
    settings = {"constraint": str(CONSTRAINTS), "disable-pip-version-check": "true"} | dict(pip)
    image = PIP_CONF.read_text("utf-8") if keep and PIP_CONF.exists() else ""
    PIP_CONF.write_text(pip_conf(image, settings), encoding="utf-8")
    Path("/etc/apt/apt.conf.d/99dmz").write_text(_APT, encoding="utf-8")
    environment = {"UV_CONSTRAINT": str(CONSTRAINTS)}
    environment |= {f"PIP_{key.upper().replace('-', '_')}": value for key, value in settings.items()}
    if overrides:
        OVERRIDES.write_text(_lines(overrides), encoding="utf-8")
        environment["UV_OVERRIDE"] = str(OVERRIDES)
    return environment


def pip_conf(image: str, settings: Mapping[str, str]) -> str:
    """pip.conf with `settings` in its global section, over what the image says there."""
    parser = configparser.RawConfigParser()
    parser.read_string(image)
    if not parser.has_section("global"):
        parser.add_section("global")
    for key, value in settings.items():
        parser.set("global", key, value)
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


@contextmanager
def no_services() -> Iterator[None]:
    """No daemon starts while packages are unpacked (https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt)."""
    mine = not POLICY.exists()
    if mine:
        POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if mine:
            POLICY.unlink(missing_ok=True)


def environment(*more: Mapping[str, str]) -> dict[str, str]:
    """The guest's own environment of a command, and what later mappings add or replace."""
    merged = dict(process.BASE)
    for each in more:
        merged |= each
    return merged


def _lines(items: Sequence[str]) -> str:
    return "".join(f"{item}\n" for item in items)
