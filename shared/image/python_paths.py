"""Where the parts of a Python service stand in its image, and the programs that start it.

The layout is that of Bazel's runfiles (https://bazel.build/extending/rules#runfiles_location):

    NAME/NAME                                                    the program
    NAME/NAME.runfiles_manifest                                  what stands below NAME.runfiles
    NAME/NAME.runfiles/_main/…                                   the sources
    NAME/NAME.runfiles/pypi_PACKAGE/site-packages/…              a directory for each distribution
    NAME/NAME.runfiles/python_x86_64-unknown-linux-gnu/bin/…     the interpreter
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from shared.errors import Permanent

INTERPRETER = "python_x86_64-unknown-linux-gnu"
MAIN = "_main"
_SHEBANG = 255  # include/uapi/linux/binfmts.h, BINPRM_BUF_SIZE, since Linux 5.1


@dataclass(frozen=True)
class Paths:
    """Of one service. All are relative to the image's root but `absolute`."""

    service: str
    packages: tuple[str, ...]
    """Its distributions, as they are called on the index; any order."""

    @property
    def program(self) -> str:
        return f"{self.service}/{self.service}"

    @property
    def runfiles(self) -> str:
        return f"{self.program}.runfiles"

    @property
    def interpreter(self) -> str:
        return f"{self.runfiles}/{INTERPRETER}"

    @property
    def main(self) -> str:
        return f"{self.runfiles}/{MAIN}"

    def package(self, name: str) -> str:
        return f"{self.runfiles}/{repository(name)}"

    def sites(self) -> tuple[str, ...]:
        return tuple(sorted(f"{self.package(name)}/site-packages" for name in self.packages))

    def script(self, body: str, *, imports: str = "sys", sources: bool = False) -> bytes:
        """A program for the image's own interpreter, with the packages on its path, and the sources if asked.

        -I: neither the environment nor the working directory can put a module in the way of ours. -B: an image's
        files do not change while it runs. -u: what it prints last before it dies is seen too.
        """
        shebang = f"#!/{self.interpreter}/bin/python3 -IBu"
        if len(shebang) > _SHEBANG:
            raise Permanent(
                f"The service's name {self.service} is too long for a program's first line; shorten it."
            )
        lines = [shebang, *(f"import {name}" for name in imports.split()), ""]
        if sources:
            lines += [f'sys.path.insert(0, "/{self.main}")']
        # Behind the standard library, as site-packages are: a package cannot take the place of one of its modules.
        lines += ["sys.path += [", *(f'    "/{site}",' for site in self.sites()), "]"]
        return "\n".join([*lines, body, ""]).encode()


def repository(name: str) -> str:
    """The directory of a distribution, named as rules_python names its repository."""
    return "pypi_" + canonicalize_name(name).replace("-", "_")


def manifest(entries: Iterable[tuple[str, str]]) -> bytes:
    """Bazel's runfiles manifest: `path target`, sorted; a leading space marks a line with escapes
    (https://github.com/bazelbuild/bazel/blob/8.0.0/src/main/java/com/google/devtools/build/lib/analysis/SourceManifestAction.java).
    """
    lines = []
    for path, target in entries:
        if re.search(r"[ \n\\]", path):
            path = path.replace("\\", r"\b").replace("\n", r"\n").replace(" ", r"\s")
            lines.append(f" {path} " + target.replace("\\", r"\b").replace("\n", r"\n"))
        else:
            lines.append(f"{path} {target}")
    return "".join(f"{line}\n" for line in sorted(lines)).encode()
