"""What the sources of an image are called in a statement: the commit that holds them, or a digest of their own.

1. `COMMIT` (40 or 64 hexadecimal digits), if git knows the spec's directory and the sources', and every file that goes
   into the image, and the spec and its lock, are as that commit has them.
2. `tree:sha256:HEX` otherwise: over the spec, and the path, content and executable bit of every source. The same
   files give the same name on every machine, with git or without.
Builders are only compared under the same name: who builds from an archive of a commit says so with --revision. The
local platform's own builders always use the second: whoever works on the sources commits now and then.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from shared.image import sources, spec
from shared.model.image import ImageSpec
from shared.model.value import canonical, sha256

_COMMIT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})", re.ASCII)
_SECONDS = 60


def revision(image: ImageSpec, path: Path) -> str:
    """The name of the sources of `image`, whose spec lies at `path`. Permanent if they cannot be read."""
    directory = path.parent / image.source
    found = sources.of(image, directory)
    files = {directory / each.place: each.executable for each in found}
    files |= {path: False, spec.lock_path(path): False}
    return _commit(directory, files) or tree(image, path)


def tree(image: ImageSpec, path: Path) -> str:
    """The second name, whether there is a commit or not."""
    found = sources.of(image, path.parent / image.source)
    listed = [[each.place, each.sha256, each.executable] for each in found]
    return "tree:" + sha256(canonical([image.model_dump(mode="json"), listed]))


def _commit(directory: Path, files: Mapping[Path, bool]) -> str:
    """HEAD, if all `files` (path to whether it is executable) are in it as they are; else nothing."""
    top = os.fsdecode(_git(directory, "rev-parse", "--show-toplevel").removesuffix(b"\n"))
    head = _git(directory, "rev-parse", "--verify", "HEAD^{commit}").decode().strip()
    if not top or not _COMMIT.fullmatch(head):
        return ""
    # Compared with the bytes on disk: the index knows less (ignored files, files that it was told to pass over).
    held: dict[bytes, bytes] = {}
    for line in filter(None, _git(Path(top), "ls-tree", "-r", "-z", "--full-tree", head).split(b"\0")):
        entry, _, place = line.partition(b"\t")
        held[place] = entry
    root = Path(top).resolve()
    for file, executable in files.items():
        try:
            place = os.fsencode(file.resolve().relative_to(root))
            wanted = f"{'100755' if executable else '100644'} blob {_blob(file, len(head))}"
        except (ValueError, OSError):  # the spec lies in another repository than the sources; a file has gone
            return ""
        if held.get(place) != wanted.encode():
            return ""
    return head


def _blob(file: Path, digits: int) -> str:
    """The object id of a file's content (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects)."""
    data = file.read_bytes()
    digest = hashlib.sha256() if digits == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % len(data))
    digest.update(data)
    return digest.hexdigest()


def _git(directory: Path, *words: str) -> bytes:
    """What git answers; nothing if it is not there, or refuses."""
    # Variables of a calling git (a hook's GIT_DIR) would answer for another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(
            ("git", "-c", "core.fsmonitor=false", "-C", str(directory), *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return answer.stdout if answer.returncode == 0 else b""
