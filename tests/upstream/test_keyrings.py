"""The pinned keys: exactly those that the README names, none more."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from shared.upstream.apt import KEYRINGS

_ROW = re.compile(r"\| (?:`([a-z0-9.-]+\.gpg)` )?\| `([0-9A-F ]{49,51})` \|")


def fingerprints(keyring: Path, home: Path) -> set[str]:
    command = ["gpg", "--homedir", home, "--batch", "--with-colons", "--show-keys", keyring]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    primary, found = False, set()
    for line in lines:
        fields = line.split(":")
        if fields[0] in ("pub", "sub"):
            primary = fields[0] == "pub"
        elif fields[0] == "fpr" and primary:
            found.add(fields[9])
    return found


def test_the_keys_are_the_documented_ones(tmp_path: Path) -> None:
    documented: dict[str, set[str]] = {}
    current = ""
    for file, fingerprint in _ROW.findall((KEYRINGS / "README.md").read_text()):
        current = file or current
        documented.setdefault(current, set()).add(fingerprint.replace(" ", ""))
    tmp_path.chmod(0o700)
    actual = {path.name: fingerprints(path, tmp_path) for path in KEYRINGS.glob("*.gpg")}
    assert set(actual) == {"debian-12.gpg", "debian-13.gpg", "ubuntu.gpg"}
    assert documented == actual
