"""Wheels, Debian packages and a lock of a small Python service, all made here."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.image.plan import Inputs
from shared.image.tree import Directory, File, Link, Tree
from shared.model.image import ImageLock, ImageSpec, LockedInput
from shared.model.value import sha256
from tests.upstream.support import wheel_members, zipped

SPEC = ImageSpec.check(
    {
        "name": "demo_service",
        "kind": "python",
        "source": "src",
        "base": {"packages": ["libc6"]},
        "python": {},
        "ports": [8080],
        "args": ["--verbose"],
        "launch_policy": {"allow_env_override": ["DMZ_SERVICE"]},
    },
    "the spec",
)
RUNFILES = "demo_service/demo_service.runfiles"


@dataclass
class Files:
    """Inputs on disk, each under a name that says nothing, as in a cache."""

    directory: Path
    inputs: list[LockedInput] = field(default_factory=list)
    paths: dict[str, Path] = field(default_factory=dict)

    def add(self, role: str, name: str, filename: str, content: bytes) -> LockedInput:
        digest = hashlib.sha256(content).hexdigest()
        path = self.directory / digest
        path.write_bytes(content)
        made = LockedInput.model_validate(
            {
                "role": role,
                "name": name,
                "url": f"https://example.org/{digest[:8]}/{filename}",
                "sha256": f"sha256:{digest}",
                "size": len(content),
            }
        )
        self.inputs.append(made)
        self.paths[made.url] = path
        return made

    def wheel(self, name: str, members: Mapping[str, bytes], version: str = "1.0") -> LockedInput:
        filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        return self.add("wheel", name, filename, zipped(members))

    def deb(self, role: str, name: str, tree: Mapping[str, bytes | str]) -> LockedInput:
        """A package; text is the target of a symbolic link, and programs are what stands in a `bin`."""
        root = self.directory / f"{name}.d"
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: x <x@example.org>\nDescription: x\n"
        )
        for place, content in tree.items():
            path = root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.symlink_to(content)
            else:
                path.write_bytes(content)
                path.chmod(0o755 if "/bin/" in place else 0o644)
        made = self.directory / f"{name}.deb"
        subprocess.run(
            ["dpkg-deb", "-Zgzip", "--root-owner-group", "-b", root, made], check=True, capture_output=True
        )
        return self.add(role, name, f"{name}_1_amd64.deb", made.read_bytes())

    def get(self) -> Inputs:
        return lambda wanted: self.paths[wanted.url]

    def lock(self, spec: ImageSpec = SPEC) -> ImageLock:
        return ImageLock(image=spec.name, resolved_from=sha256(b""), inputs=tuple(self.inputs))


def demo(**more: bytes) -> dict[str, bytes]:
    """Members of the wheel `demo` 1.0, `__` in a name standing for `/`."""
    files = {"demo/__init__.py": b"x = 1\n", "demo/table.bin": bytes(range(256)) * 9}
    return wheel_members(
        "demo", "1.0", files | {name.replace("__", "/"): data for name, data in more.items()}
    )


def interpreter(files: Files) -> None:
    files.deb(
        "interpreter",
        "python3.11-minimal",
        {
            "usr/bin/python3.11": b"\x7fELF interpreter",
            "usr/share/doc/python3.11-minimal/copyright": b"PSF",
            "usr/share/doc/python3.11-minimal/changelog": b"much",
            "usr/share/binfmts/python3.11": b"x",
        },
    )
    files.deb(
        "interpreter",
        "libpython3.11-stdlib",
        {
            "usr/lib/python3.11/os.py": b"name = 'posix'\n",
            "usr/lib/python3.11/lib-dynload/_json.so": b"\x7fELF",
            "usr/lib/python3.11/sitecustomize.py": "/etc/python3.11/sitecustomize.py",
            "usr/lib/python3.11/_data.py": "os.py",
            "etc/python3.11/sitecustomize.py": b"import apport\n",
        },
    )


def shown(tree: Tree) -> dict[str, tuple[int, bytes] | str]:
    """Everything in a tree: mode and bytes, or where a link leads."""
    found: dict[str, tuple[int, bytes] | str] = {}
    for path, node in tree.entries():
        if isinstance(node, Link):
            found[path] = node.target
        elif isinstance(node, Directory):
            found[path] = (node.mode, b"")
        else:
            found[path] = (node.mode, content(node))
    return found


def content(node: object) -> bytes:
    assert isinstance(node, File)
    with node.content.open() as stream:
        data = stream.read()
    assert len(data) == node.content.size
    return data
