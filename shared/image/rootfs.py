"""What makes a root file system of packages: things that maintainer scripts do elsewhere, the same each time.

1. The links that merge /usr. 2. Places to mount and to write. 3. /etc/passwd, group and nsswitch.conf.
4. Certificate bundles. 5. Names that update-alternatives gives. There is no ld.so.cache: the loader looks in
/usr/lib/x86_64-linux-gnu by itself. What a package brings is not touched.
"""

from __future__ import annotations

import re

from shared.image import certificates
from shared.image.spool import constant
from shared.image.tree import Directory, File, Link, Tree

RECIPE = 1
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libo32", "libx32")
_ALWAYS = ("bin", "sbin", "lib", "lib64")
_DIRECTORIES = {
    "dev": 0o755,
    "etc": 0o755,
    "home": 0o755,
    "proc": 0o755,
    "root": 0o700,
    "run": 0o755,
    "sys": 0o755,
    "tmp": 0o1777,
    "var/tmp": 0o1777,
}
_USERS = {
    "root": (0, 0, "/root"),
    "nonroot": (65532, 65532, "/home"),
    "nobody": (65534, 65534, "/nonexistent"),
}
_NSSWITCH = (
    b"passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nprotocols: files\nservices: files\n"
)
_JVM = re.compile(r"usr/lib/jvm/java-([0-9]+)-openjdk-[a-z0-9]+/(?:jre/)?bin/([A-Za-z0-9_-]+)")
_VERSIONED = re.compile(r"usr/bin/(gcc|g\+\+|clang|clang\+\+)(?:-([0-9]+))?")
_COMPILERS = {"cc": ("gcc", "clang"), "c++": ("g++", "clang++")}


def merged(path: str) -> str:
    """`path` where it is after /usr was merged."""
    top = path.partition("/")[0]
    return f"usr/{path}" if top in MERGED else path


def complete(tree: Tree, user: str) -> None:
    """Add to the packages in `tree` what their maintainer scripts would; `user` is the service's `uid:gid`."""
    for name in MERGED:  # 1
        if name in _ALWAYS or tree.get(f"usr/{name}") is not None:
            tree.add(name, Link(f"usr/{name}"))
            if tree.get(f"usr/{name}") is None:
                tree.add(f"usr/{name}", Directory())
    for path, mode in _DIRECTORIES.items():  # 2
        if tree.get(path) is None:
            tree.add(path, Directory(mode))
    uid, gid = map(int, user.split(":"))
    accounts = dict(_USERS)
    if uid not in {known for known, _, _ in accounts.values()}:
        accounts["service"] = (uid, gid, "/home")
    _file(tree, "etc/passwd", _passwd(accounts))  # 3
    _file(tree, "etc/group", _group(accounts))
    _file(tree, "etc/nsswitch.conf", _NSSWITCH)
    certificates.bundle(tree)  # 4
    _java(tree)  # 5
    _compilers(tree)


def _file(tree: Tree, path: str, content: bytes) -> None:
    if tree.get(path) is None:
        tree.add(path, File(constant(content), 0o644))


def _passwd(accounts: dict[str, tuple[int, int, str]]) -> bytes:
    lines = (
        f"{name}:x:{uid}:{gid}:{name}:{home}:/usr/sbin/nologin\n"
        for name, (uid, gid, home) in accounts.items()
    )
    return "".join(lines).encode()


def _group(accounts: dict[str, tuple[int, int, str]]) -> bytes:
    groups = {
        gid: "nogroup" if name == "nobody" else name for name, (_, gid, _) in reversed(accounts.items())
    }
    return "".join(f"{name}:x:{gid}:\n" for gid, name in sorted(groups.items())).encode()


def _java(tree: Tree) -> None:
    """Every program of the newest OpenJDK under its own name, as its alternatives have it."""
    found: dict[str, tuple[int, str]] = {}
    for path, node in tree.entries():
        match = _JVM.fullmatch(path)
        if match and not isinstance(node, Directory):
            found[match[2]] = max(found.get(match[2], (0, "")), (int(match[1]), path))
    for name, (_, path) in sorted(found.items()):
        if tree.get(f"usr/bin/{name}") is None:
            tree.add(f"usr/bin/{name}", Link(f"../{path.removeprefix('usr/')}"))


def _compilers(tree: Tree) -> None:
    """`cc` and `c++`, and the plain name of a compiler that is there with its version only; gcc before clang."""
    there = {match.groups() for path, _ in tree.entries() if (match := _VERSIONED.fullmatch(path))}
    for plain in ("gcc", "g++", "clang", "clang++"):
        versions = sorted(int(version) for name, version in there if name == plain and version)
        if (plain, None) not in there and versions:
            tree.add(f"usr/bin/{plain}", Link(f"{plain}-{versions[-1]}"))
    for name, candidates in _COMPILERS.items():
        for candidate in candidates:
            if tree.get(f"usr/bin/{name}") is None and tree.get(f"usr/bin/{candidate}") is not None:
                tree.add(f"usr/bin/{name}", Link(candidate))
