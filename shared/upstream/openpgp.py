"""Signatures of archives, verified by gpgv against a pinned keyring (apt's own way, apt-secure(8)).

Checks, on gpgv's status lines (https://github.com/gpg/gnupg/blob/master/doc/DETAILS):
1. Only keys of the given keyring count: gpgv gets it as its one keyring and an empty home.
2. One signature at least is GOODSIG and VALIDSIG, with SHA-256, SHA-384 or SHA-512.
3. Not one signature is bad, expired, or from an expired or revoked key. A signature of a key that is not in the
   keyring is ignored: Debian signs each release with the keys of two.
4. There is exactly one signed text, and what is returned is that text alone, as gpgv wrote it: unsigned text around
   it never reaches the parser.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from shared.errors import Permanent

_SHA2 = frozenset({"8", "9", "10"})  # RFC 9580 section 9.5
_REFUSED = frozenset(
    {"BADSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "UNEXPECTED", "BADARMOR", "ERROR", "FAILURE"}
)
_TIMEOUT = 60


def verify_clear(signed: bytes, keyring: Path, what: str) -> bytes:
    """The text inside a clear-signed message. Permanent unless all checks pass; `what` names it in the sentence."""
    return _verify((signed,), keyring, what)


def verify_detached(text: bytes, signature: bytes, keyring: Path, what: str) -> bytes:
    """`text` itself, if `signature` is over it. Permanent unless all checks pass."""
    _verify((signature, text), keyring, what)
    return text


def _verify(inputs: Sequence[bytes], keyring: Path, what: str) -> bytes:
    if not keyring.is_file() or keyring.stat().st_size == 0:
        raise Permanent(f"The keyring {keyring} is missing or empty, so nothing can vouch for {what}.")
    with tempfile.TemporaryDirectory(prefix="gpgv-") as home:
        paths = [Path(home, f"input-{number}") for number in range(len(inputs))]
        for path, content in zip(paths, inputs, strict=True):
            path.write_bytes(content)
        text = Path(home, "text")
        arguments = [] if len(inputs) > 1 else ["--output", str(text)]  # 4
        status = _gpgv([*arguments, *map(str, paths)], keyring, home)
        _judge(status, clear=len(inputs) == 1, what=what)
        return text.read_bytes() if len(inputs) == 1 else b""


def _gpgv(arguments: Sequence[str], keyring: Path, home: str) -> list[list[str]]:
    """gpgv's status lines, split into words."""
    command = ["gpgv", "--homedir", home, "--keyring", str(keyring.resolve()), "--status-fd", "1"]  # 1
    try:
        done = subprocess.run(
            [*command, *arguments],
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
            env={"PATH": "/usr/bin:/bin:/usr/local/bin", "LC_ALL": "C", "HOME": home},
        )
    except FileNotFoundError as error:
        raise Permanent(
            "gpgv is not installed, so signatures cannot be verified; install Debian's package gpgv."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Permanent(f"gpgv did not answer within {_TIMEOUT} seconds.") from error
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    return [line.split()[1:] for line in lines if re.match(r"\[GNUPG:\] \S", line)]


def _judge(status: list[list[str]], clear: bool, what: str) -> None:
    for line in status:
        if line[0] in _REFUSED:  # 3
            raise Permanent(f"{what} carries a signature that does not hold (gpgv: {' '.join(line)[:120]}).")
    if not any(_holds(block) for block in _signatures(status)):  # 2
        raise Permanent(f"{what} has no valid signature of a key that this project trusts; it is not used.")
    if clear and [line[0] for line in status].count("PLAINTEXT") != 1:  # 4
        raise Permanent(f"{what} does not hold exactly one signed text; it is refused.")


def _signatures(status: list[list[str]]) -> list[list[list[str]]]:
    """The lines of each signature."""
    blocks: list[list[list[str]]] = []
    for line in status:
        if line[0] == "NEWSIG":
            blocks.append([])
        elif blocks:
            blocks[-1].append(line)
    return blocks


def _holds(block: list[list[str]]) -> bool:
    good = any(line[0] == "GOODSIG" for line in block)
    return good and any(line[0] == "VALIDSIG" and len(line) > 8 and line[8] in _SHA2 for line in block)
