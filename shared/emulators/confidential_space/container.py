"""The process that an image and a launch specification make: arguments, environment, user.

Source: launcher/container_spec.go of go-tpm-tools and the options of containerd that it uses
(oci.WithImageConfigArgs, WithEnv, WithUser in pkg/oci/spec_opts.go). Arguments are entry point and Cmd, the operator's
in place of Cmd; the environment is the image's (PATH alone if it has none), then the operator's, then HOSTNAME.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.emulators.confidential_space.launch_spec import LaunchSpec
from shared.emulators.confidential_space.pull import Image
from shared.emulators.vm import within
from shared.errors import Permanent

_DEFAULT_ENV = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
_PORT = re.compile(r"([0-9]{1,5})/(tcp|udp)")
_TABLE_LIMIT = 2**20


@dataclass(frozen=True)
class Process:
    args: tuple[str, ...]
    env: Mapping[str, str]
    workdir: str
    user: str
    """As the image has it: empty, or names or numbers of user and group."""
    ports: tuple[int, ...]
    """TCP ports that the image exposes; the launcher opens the firewall for them."""
    labels: Mapping[str, str]


@dataclass(frozen=True)
class User:
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def process(image: Image, spec: LaunchSpec, hostname: str) -> Process:
    """Permanent if the image's configuration is malformed, or leaves nothing to run."""
    config = image.config
    entrypoint, cmd = _strings(config.get("Entrypoint")), _strings(config.get("Cmd"))
    args = entrypoint + (spec.cmd or cmd)
    if not args:
        raise Permanent("failed to create a container: [no arguments specified in the image's configuration]")
    if len(args) <= len(spec.cmd):
        raise Permanent(
            f"length of Args [{len(args)}] is shorter or equal to the length of the given Cmd [{len(spec.cmd)}], "
            "maybe the Entrypoint is set to empty in the image?"
        )
    pairs = [
        *(_strings(config.get("Env")) or _DEFAULT_ENV),
        *(f"{name}={value}" for name, value in spec.envs),
    ]
    env = dict(pair.partition("=")[::2] for pair in pairs)
    labels = config.get("Labels") or {}
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise Permanent("the image's Labels are not an object of strings")
    return Process(
        args=args,
        env={**env, "HOSTNAME": hostname},
        workdir=str(config.get("WorkingDir") or "/"),
        user=str(config.get("User") or ""),
        ports=_ports(config.get("ExposedPorts") or {}),
        labels=labels,
    )


def user(text: str, root: Path) -> User:
    """Who `text` is in the image unpacked at `root`. Permanent if a name is not there."""
    name, colon, group = text.partition(":")
    name = name or "0"
    table = _table(root, "etc/passwd", 7)
    by_name = {entry[0]: entry for entry in table}
    by_id = {entry[2]: entry for entry in reversed(table)}
    entry = by_name.get(name) or by_id.get(name)
    if entry is None and not (name.isascii() and name.isdigit()):
        raise Permanent(f"no users found: the image's /etc/passwd has no {name!r:.80}")
    uid = int(entry[2]) if entry else int(name)
    gid = int(entry[3]) if entry else 0
    groups = _table(root, "etc/group", 4)
    if colon:
        gid = _group(group, groups)
        joined: tuple[int, ...] = ()
    else:  # as runc: the groups that list the user, when none is named
        joined = tuple(int(line[2]) for line in groups if entry and entry[0] in line[3].split(","))
    if max(uid, gid, *joined, 0) > 65_535:
        raise Permanent(f"the image's user {text[:80]!r} is beyond the ids of a local container, 0 to 65535")
    return User(uid, gid, joined, (entry[5] if entry else "") or "/")


def _group(name: str, groups: Sequence[list[str]]) -> int:
    for line in groups:
        if name in (line[0], line[2]):
            return int(line[2])
    if name.isascii() and name.isdigit():
        return int(name)
    raise Permanent(f"no groups found: the image's /etc/group has no {name!r:.80}")


def _table(root: Path, place: str, columns: int) -> list[list[str]]:
    """Lines of a table like passwd(5); the file is the image's, so no link is followed and numbers are checked."""
    content = within.read(root, place, _TABLE_LIMIT) or b""
    lines = [line.split(":") for line in content.decode("utf-8", "replace").splitlines()]
    numbers = slice(2, 4 if columns == 7 else 3)
    return [
        line
        for line in lines
        if len(line) == columns and all(re.fullmatch("[0-9]{1,9}", number) for number in line[numbers])
    ]


def _ports(exposed: object) -> tuple[int, ...]:
    if not isinstance(exposed, dict):
        raise Permanent("the image's ExposedPorts are not an object")
    found = []
    for text in exposed:
        match = _PORT.fullmatch(str(text))
        if not match:
            raise Permanent(
                f"failed to parse port and protocol: got {text}, expected [port]/[protocol] 80/tcp"
            )
        if not 1 <= int(match[1]) <= 65535:
            raise Permanent(f"received invalid port number: {match[1]}")
        if match[2] == "tcp":
            found.append(int(match[1]))
    return tuple(sorted(found))


def _strings(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(word, str) and "\0" not in word for word in value):
        raise Permanent("the image's configuration has something else where a list of strings belongs")
    return tuple(value)
