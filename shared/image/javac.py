"""The JDK's compiler in the sandbox, and the jars that it compiles against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import basename, dirname, join, normpath

from shared.errors import Permanent
from shared.image import debian, sandbox
from shared.image.plan import Inputs
from shared.image.scratch import Scratch
from shared.image.sources import Source
from shared.image.tree import Content, File, Link, Tree
from shared.model.image import LockedInput
from shared.model.value import printable

_JAVAC = (
    "/usr/bin/javac",
    "-g",
    "-parameters",
    "-proc:none",
    "-encoding",
    "UTF-8",
    "-implicit:none",
    "-nowarn",
)
_LINKS = 8


@dataclass(frozen=True)
class Compiled:
    classes: Mapping[str, Content]
    """By path, `package/Name.class`."""
    headers: Path
    """Directory of the C headers of native methods."""


def compiled(
    root: Path,
    sources: Sequence[Source],
    at: Path,
    jars: Mapping[str, Path],
    release: int,
    scratch: Scratch,
    name: str,
) -> Compiled:
    """The `*.java` among `sources`, of which `at` is a copy, for this release of Java; `name`: of the scratch
    directory. Permanent with the first error that javac names."""
    out = scratch.directory(name)
    classes, headers = scratch.directory(f"{name}/classes"), scratch.directory(f"{name}/headers")
    # In the order of the sources: the names of lambdas and of nested classes may follow from it.
    units = [each.place for each in sources if each.place.endswith(".java")]
    arguments = scratch.path / f"{name}.arguments"
    arguments.write_text("".join(f"{_quoted(unit)}\n" for unit in units), encoding="utf-8")
    places = {f"/jars/{each}": path for each, path in sorted(jars.items())}
    sandbox.run(
        root,
        [
            *(
                *_JAVAC,
                "--release",
                str(release),
                "-sourcepath",
                "",
                "-d",
                "/out/classes",
                "-h",
                "/out/headers",
            ),
            *("-classpath", ":".join(places), "@/arguments"),
        ],
        out=out,
        sources=at,
        binds={**places, "/arguments": arguments},
        what="Compiling Java",
    )
    return Compiled(scratch.contents(classes, ".class"), headers)


def _quoted(path: str) -> str:
    """As an argument file has it (https://docs.oracle.com/en/java/javase/17/docs/specs/man/javac.html)."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def jars(locked: Sequence[LockedInput], inputs: Inputs, scratch: Scratch) -> dict[str, Path]:
    """The locked jars by the file names that they get, sorted; of two with one name each has its group before it."""
    plain = Counter(_name(each) for each in locked)
    found: dict[str, Path] = {}
    for each in sorted(locked, key=lambda jar: (_name(jar), jar.name, jar.sha256)):
        name = _name(each)
        if plain[name] > 1:
            name = f"{each.name.partition(':')[0]}-{name}"
        if name in found:
            raise Permanent(
                f"The lock has two jars {name}, {each.url} among them; leave one out of the dependencies."
            )
        path = inputs(each)
        found[name] = _from_package(each, path, scratch) if each.path else path
    return dict(sorted(found.items()))


def _name(locked: LockedInput) -> str:
    name = basename(locked.path) if locked.path else locked.filename
    plain = name.replace("-", "").replace(".", "").replace("_", "").replace("+", "")
    if not (name.endswith(".jar") and plain.isascii() and plain.isalnum()):
        raise Permanent(f"The dependency {printable(locked.url, 300)} is no file NAME.jar.")
    return name


def _from_package(locked: LockedInput, archive: Path, scratch: Scratch) -> Path:
    """A jar out of a Debian package; a link leads to it within the package."""
    tree = debian.package_tree([archive])
    place = locked.path.lstrip("/")
    for _ in range(_LINKS):
        node = tree.get(place)
        if not isinstance(node, Link):
            break
        place = normpath(join("/", dirname(place), node.target)).lstrip("/")
    else:
        node = None
    if not isinstance(node, File):
        raise Permanent(
            f"The package {locked.name} has no jar {printable(locked.path, 300)}; {_others(tree)}."
        )
    return scratch.save(node.content, f"jar-{basename(locked.path)}")


def _others(tree: Tree) -> str:
    found = sorted(
        path for path, _ in tree.entries() if path.startswith("usr/share/java/") and path.endswith(".jar")
    )
    return f"it has /{', /'.join(found[:5])}" if found else "it has none below /usr/share/java"
