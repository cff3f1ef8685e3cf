"""The shared library of a Java service: its C++ files, compiled by the lock's compiler in the sandbox.

Every file is compiled by itself under a fixed name, with the paths of the sandbox taken out of what it leaves
(https://reproducible-builds.org/docs/build-path/), and linked in the order of the sources.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path

from shared.errors import Permanent
from shared.image import roots, sandbox
from shared.image.plan import Inputs
from shared.image.scratch import Scratch
from shared.image.sources import Source
from shared.model.image import LockedInput, Native
from shared.model.value import printable

RECIPE = 1
"""Counts changes of what comes of the same inputs: a part of the key."""
SUFFIXES = (".cc", ".cpp", ".cxx")
HEADERS = (".h", ".hh", ".hpp", ".hxx", ".inc")
_COMPILE = (
    *("/usr/bin/c++", "-c", "-O2", "-std=c++20", "-fPIC", "-fvisibility=hidden", "-fstack-protector-strong"),
    *("-D_FORTIFY_SOURCE=2", "-ffile-prefix-map=/src=.", "-I/src", "-I/jni", "-I/jni/linux", "-I/headers"),
)
_LINK = (
    *("/usr/bin/c++", "-shared", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,defs"),
    "-Wl,--build-id=sha1",  # of the content: says nothing that the content does not
)
_MACHINES_OWN = re.compile(r"^-m(arch|tune|cpu)=native$")


def check(native: Native) -> None:
    """Permanent if a flag asks for what another machine would build differently."""
    for flag in native.flags:
        if _MACHINES_OWN.search(flag):
            raise Permanent(
                f"The flag {printable(flag, 100)} of native.flags makes code for the machine that builds, so no "
                "other would build the same; name the processor instead, as in -march=x86-64-v3."
            )


@dataclass(frozen=True)
class Build:
    """What compiles."""

    jdk: Path
    """The root that holds jni.h."""
    packages: Sequence[LockedInput]
    """The compiler's."""
    inputs: Inputs
    scratch: Scratch

    def library(self, native: Native, sources: Sequence[Source], at: Path, headers: Path) -> Path:
        """The path of `lib<library>.so`, of the sources that are copied to `at`.

        `headers`: what javac made for native methods. Permanent with the compiler's first error.
        """
        units = [source.place for source in sources if source.place.endswith(SUFFIXES)]
        if not units:
            raise Permanent(
                f"There is no C++ source ({', '.join(SUFFIXES)}) for lib{native.library}.so; add one, "
                "or make the image's kind java."
            )
        root = roots.root(self.packages, self.inputs)
        clang, linker = _tools(root)
        common = [*(("-stdlib=libc++",) if clang else ()), *native.flags]
        out = self.scratch.directory("native")
        binds = {"/jni": _jni(self.jdk), "/headers": headers}

        def compiled(numbered: tuple[int, str]) -> str:
            number, unit = numbered
            target = f"/out/{number:05}.o"
            argv = [*_COMPILE, *common, unit, "-o", target]
            sandbox.run(root, argv, out=out, sources=at, binds=binds, what=f"Compiling {unit}")
            return target

        with ThreadPoolExecutor(cpu_count() or 1, thread_name_prefix="c++") as pool:
            objects = list(pool.map(compiled, enumerate(units)))
        name = f"lib{native.library}.so"
        argv = [*_LINK, *linker, f"-Wl,-soname,{name}", "-o", f"/out/{name}", *objects, *common]
        sandbox.run(root, argv, out=out, what=f"Linking {name}")
        return out / name


def _tools(root: Path) -> tuple[bool, tuple[str, ...]]:
    """Whether `c++` is clang, and the options for LLVM's linker, which may be there with its version only."""
    programs = root / "usr/bin"
    clang = (programs / "clang++").exists() and not (programs / "g++").exists()
    linkers = sorted(programs.glob("ld.lld*"), key=lambda path: (len(path.name), path.name))
    return clang, (f"--ld-path=/usr/bin/{linkers[-1].name}", "-Wl,--threads=1") if clang and linkers else ()


def _jni(jdk: Path) -> Path:
    found = [
        path.parent
        for path in (jdk / "usr/lib/jvm").glob("*/include/jni.h")
        if not path.parents[1].is_symlink()
    ]
    if len(found) != 1:
        raise Permanent(
            "The lock's packages for the JDK bring no jni.h, or several; name one JDK in java.jdk."
        )
    return found[0]
