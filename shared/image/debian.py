"""Debian packages as a file tree: what dpkg would unpack, without a maintainer script and without a root.

- `bin sbin lib lib64` and their like are `usr/…` in every tree (https://wiki.debian.org/UsrMerge); the links that
  lead there stand in a base, once.
- A directory that several packages bring gets the permissions that all of them grant, and every special bit.
- Each package leaves its record in `var/lib/dpkg/status.d`, where scanners look for packages without dpkg.
- Licences (`usr/share/doc/*/copyright`) stay whatever is excluded: whoever passes the image on must pass them on.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from queue import SimpleQueue

from shared.errors import Permanent
from shared.image import deb, rootfs
from shared.image.deb import Deb
from shared.image.plan import Inputs, Layer
from shared.image.spool import Spool, constant
from shared.image.tree import Directory, File, Link, Node, Tree
from shared.model.image import ImageLock, ImageSpec, LockedInput
from shared.model.value import canonical, printable, sha256

RECIPE = 2
"""Counts changes of what comes of the same packages: a part of every key."""
RECORDS = "var/lib/dpkg/status.d"
_COPYRIGHT = "usr/share/doc/*/copyright"


def base_layer(spec: ImageSpec, lock: ImageLock, inputs: Inputs) -> Layer:
    """The base: the lock's base packages, what merges /usr, and the least of /etc that a service needs."""
    packages = [each for each in lock.inputs if each.role == "base"]

    def tree() -> Tree:
        made = package_tree([*map(inputs, packages)], spec.exclude)
        rootfs.complete(made, spec.user)
        return made

    return Layer("base", _key("base", packages, spec.exclude, spec.user), tree)


def package_layer(package: LockedInput, inputs: Inputs, exclude: Sequence[str] = ()) -> Layer:
    """One package, to lie over a base that has merged /usr already."""
    return packages_layer(package.name, [package], inputs, exclude)


def packages_layer(
    name: str, packages: Sequence[LockedInput], inputs: Inputs, exclude: Sequence[str] = ()
) -> Layer:
    """Some packages as one layer, to lie over a base that has merged /usr already."""
    return Layer(
        name, _key("packages", packages, exclude, ""), lambda: package_tree([*map(inputs, packages)], exclude)
    )


def package_tree(archives: Sequence[Path], exclude: Sequence[str] = ()) -> Tree:
    """What the packages bring, without the patterns of `exclude` (fnmatch, `*` crosses `/`), with their records.

    Bytes wait in nameless files beside the archives until the tree is gone. Permanent for an archive that is
    refused, and for two packages that bring one path.
    """
    packages = sorted(_read(archives), key=lambda package: package.name)
    nodes: dict[str, tuple[Node, str]] = {}
    for package in packages:
        for path, node in _merged(package):
            if not _excluded(path, node, exclude):
                nodes[path] = _beside(nodes.get(path), node, path, package.name)
    tree = Tree()
    for path in sorted(nodes):
        tree.add(path, nodes[path][0])
    for package in packages:
        tree.add(f"{RECORDS}/{package.name}", File(constant(package.control.rstrip(b"\n") + b"\n"), 0o644))
        if package.md5sums:
            tree.add(f"{RECORDS}/{package.name}.md5sums", File(constant(package.md5sums), 0o644))
    return tree


def unpack(archives: Sequence[Path], to: Path) -> None:
    """Unpack packages into the empty or missing directory `to`: the root of a sandbox, /usr merged, with
    `java`, `javac` or `cc` where a package brings one. Needs no root; set-id bits are not kept."""
    tree = package_tree(archives)
    rootfs.complete(tree, "0:0")
    write(tree, to)


def write(tree: Tree, to: Path) -> None:
    """`tree` as files below `to`, with names in UTF-8 whatever the locale. Links come last: nothing is written through
    one."""
    to.mkdir(parents=True, exist_ok=True)
    if any(to.iterdir()):
        raise Permanent(f"{to} is not empty; give a directory that is.")
    names: dict[str, Path] = {}
    nodes = sorted(tree.entries())
    named = {path for path, node in nodes if isinstance(node, Directory)}
    for path, node in nodes:
        place = to / _on_disk(path)
        for parent in sorted({*_parents(path)} - named):
            above = to / _on_disk(parent)
            if not above.exists():
                above.mkdir()
                above.chmod(0o755)
        if isinstance(node, Directory):
            place.mkdir(exist_ok=True)
        elif isinstance(node, File) and node.content.same in names:
            os.link(names[node.content.same], place)
        elif isinstance(node, File):
            _write_file(node, place)
            if node.content.same:
                names[node.content.same] = place
    for path, node in nodes:
        if isinstance(node, Link):
            (to / _on_disk(path)).symlink_to(_on_disk(node.target))
    for path, node in reversed(nodes):
        if isinstance(node, Directory):
            # Whoever unpacked it must be able to look into it and to remove it.
            (to / _on_disk(path)).chmod(node.mode & 0o777 | 0o700)


def _on_disk(name: str) -> str:
    """What Python must be told for the file's name to be `name` in UTF-8."""
    return os.fsdecode(name.encode())


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _write_file(node: File, place: Path) -> None:
    with node.content.open() as source, place.open("xb") as file:
        while data := source.read(1024 * 1024):
            file.write(data)
    place.chmod(node.mode & 0o777)


def _key(kind: str, packages: Iterable[LockedInput], exclude: Sequence[str], user: str) -> str:
    digests = sorted(each.sha256 for each in packages)
    return sha256(canonical(["debian", RECIPE, rootfs.RECIPE, kind, digests, sorted(exclude), user]))


def _read(archives: Sequence[Path]) -> list[Deb]:
    """All archives, as many at once as there are processors, each worker with a spool of its own."""
    archives = sorted(set(archives), key=_size, reverse=True)  # the longest work first
    workers = min(len(archives), os.cpu_count() or 1, 4) or 1
    free: SimpleQueue[Spool] = SimpleQueue()

    def read(path: Path) -> Deb:
        spool = free.get()
        try:
            return deb.read(path, spool)
        finally:
            free.put(spool)

    if not archives:
        return []
    for _ in range(workers):
        free.put(Spool(archives[0].parent))
    with ThreadPoolExecutor(workers, thread_name_prefix="deb") as pool:
        packages = list(pool.map(read, archives))
    seen: set[str] = set()
    for package in packages:
        if package.name in seen:
            raise Permanent(f"The package {package.name} is given twice; leave one out.")
        seen.add(package.name)
    return packages


def _size(archive: Path) -> tuple[int, str]:
    try:
        return archive.stat().st_size, archive.name
    except OSError:  # said better when it is opened
        return 0, archive.name


def _merged(package: Deb) -> Iterator[tuple[str, Node]]:
    """The package's nodes with /usr merged."""
    for path, node in package.nodes.items():
        place = rootfs.merged(path)
        if not isinstance(node, Link):
            yield place, node
        elif path not in rootfs.MERGED:
            yield place, Link(_retargeted(path, place, node.target))
        elif posixpath.normpath(node.target).removeprefix("/") != place:
            raise Permanent(
                f"{package.name} makes /{path} a link to {printable(node.target, 100)}, and it is one to {place}."
            )


def _retargeted(path: str, place: str, target: str) -> str:
    """The target of a link that moved from `path` to `place`: what it led to, it leads to."""
    if target.startswith("/") or path == place:
        return target
    meant = rootfs.merged(_resolved(path, target))
    if rootfs.merged(_resolved(place, target)) == meant:
        return target
    return posixpath.relpath(f"/{meant}", posixpath.dirname(f"/{place}"))


def _resolved(path: str, target: str) -> str:
    return posixpath.normpath(posixpath.join("/", posixpath.dirname(path), target)).lstrip("/")


def _excluded(path: str, node: Node, exclude: Sequence[str]) -> bool:
    kept = fnmatchcase(path, _COPYRIGHT) or (isinstance(node, Link) and path.startswith("usr/share/doc/"))
    return not kept and any(fnmatchcase(path, pattern) for pattern in exclude)


def _beside(before: tuple[Node, str] | None, node: Node, path: str, package: str) -> tuple[Node, str]:
    """What stands at `path` when `package` brings `node` there too. Permanent if that is not one directory."""
    if before is None:
        return node, package
    other, owner = before
    if isinstance(node, Directory) and isinstance(other, Directory):
        common = (node.mode & other.mode & 0o777) | ((node.mode | other.mode) & 0o7000)
        return Directory(common), owner
    raise Permanent(f"{owner} and {package} both bring /{printable(path, 200)}; leave one of them out.")
