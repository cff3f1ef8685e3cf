"""Byte code made by the image's own interpreter, the same each time.

1. The interpreter is the lock's, in a sandbox made of the lock's packages; the host's Python plays no part.
2. One process compiles everything in the order of the paths: what a compiler marks as shared between constants follows
   from what it compiled before. Its hash seed is fixed.
3. Files are "unchecked hash" (https://peps.python.org/pep-0552/): no time in them, and no look at the source at start.
4. The name in each code object is the path that the source has in the image.

A source that does not compile (a template, a test of syntax errors) stays as it is, as with `compileall`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from shared.errors import Permanent
from shared.image import roots, sandbox
from shared.image.plan import Inputs
from shared.image.spool import Spool
from shared.image.tree import File, Tree
from shared.model.image import ImageLock

RECIPE = 1
_CHUNK = 1024 * 1024
_ROLES = ("base", "interpreter")

# Runs inside the sandbox. Sources lie in one file, byte code goes to another: a listing names path and lengths.
_PROGRAM = """
import importlib.util, sys
from importlib._bootstrap_external import _code_to_hash_pyc
with open("/src/listing") as listing, open("/src/sources", "rb") as sources, \\
        open("/out/bytecode", "wb") as out, open("/out/listing", "w") as lengths:
    for line in listing:
        size, path = line.rstrip("\\n").split(" ", 1)
        source = sources.read(int(size))
        try:
            code = compile(source, path, "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError, RecursionError):
            print(0, file=lengths)
            continue
        data = _code_to_hash_pyc(code, importlib.util.source_hash(source), False)
        out.write(data)
        print(len(data), file=lengths)
with open("/out/tag", "w") as tag:
    print(sys.implementation.cache_tag, file=tag)
"""


class Compiler:
    """The interpreter of one lock. Unpacks it when it is first needed."""

    def __init__(self, lock: ImageLock, inputs: Inputs) -> None:
        self._packages = [each for each in lock.inputs if each.role in _ROLES]
        self._inputs = inputs
        if not any(each.role == "base" for each in self._packages):
            raise Permanent(
                f"The byte code of {lock.image} needs a base of Debian packages, which the interpreter runs on; "
                "set `bytecode: false`, or give the base as packages."
            )

    @property
    def identity(self) -> str:
        """What a layer's key says of the compiler."""
        return f"pyc {RECIPE} {roots.identity(self._packages)}"

    def compiled(self, tree: Tree) -> Tree:
        """The byte code of every `.py` file of `tree`, each in the `__pycache__` beside it."""
        sources = sorted(
            (
                (path, node)
                for path, node in tree.entries()
                if isinstance(node, File) and path.endswith(".py")
            ),
            key=lambda source: source[0].encode(),
        )
        if not sources:
            return Tree()
        root = roots.root(self._packages, self._inputs)
        with tempfile.TemporaryDirectory(prefix="pyc-") as scratch:
            given, made = Path(scratch, "src"), Path(scratch, "out")
            given.mkdir()
            made.mkdir()
            _write(sources, given)
            sandbox.run(
                root,
                [_interpreter(root), "-sSPB", "-c", _PROGRAM],
                out=made,
                sources=given,
                env={"PYTHONHASHSEED": "0"},
                what="Compiling Python",
            )
            return _collect([path for path, _ in sources], made)


def _interpreter(root: Path) -> str:
    found = sorted(path.name for path in (root / "usr/bin").glob("python3.*") if path.name[8:].isdigit())
    if len(found) != 1:
        raise Permanent(
            "The interpreter's packages bring no one program python3.*; name those of one Python."
        )
    return f"/usr/bin/{found[0]}"


def _write(sources: list[tuple[str, File]], to: Path) -> None:
    with (to / "listing").open("w", encoding="utf-8") as listing, (to / "sources").open("wb") as file:
        for path, node in sources:
            if not path.isprintable():
                raise Permanent(
                    f"The source {path!r:.200} has a name that is no plain text; leave its package out."
                )
            listing.write(f"{node.content.size} /{path}\n")
            with node.content.open() as stream:
                while data := stream.read(_CHUNK):
                    file.write(data)


def _collect(paths: list[str], made: Path) -> Tree:
    lengths = [int(line) for line in (made / "listing").read_text().splitlines()]
    tag = (made / "tag").read_text().strip()
    if len(lengths) != len(paths) or not tag.replace("-", "").isalnum():
        raise Permanent("Compiling Python gave another number of files than there are sources; build again.")
    spool, tree = Spool(made), Tree()
    with (made / "bytecode").open("rb") as stream:
        for path, place in _spooled(paths, lengths, stream, spool):
            parent, _, name = path.rpartition("/")
            node = File(spool.content(*place), 0o644)
            tree.add(f"{parent}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc", node)
    return tree


def _spooled(
    paths: list[str], lengths: list[int], stream: IO[bytes], spool: Spool
) -> Iterator[tuple[str, tuple[int, int]]]:
    for path, length in zip(paths, lengths, strict=True):
        if length:
            yield path, spool.add(stream, length, "The byte code")
