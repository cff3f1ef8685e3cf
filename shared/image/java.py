"""A Java service: its jar in the Spring Boot layout and, with JNI, a shared library beside it and what that needs.

Sources are every `*.java` below the source directory, resources what stands below `src/main/resources`, C++ every
`*.cc`, `*.cpp` and `*.cxx`; `src/test` is left out. They are compiled in the sandbox, by the lock's compilers, and
no annotation processor runs. Equal specs, locks and sources give equal layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Permanent
from shared.image import debian, jar, javac, native, roots, sources, spring
from shared.image.labels import labels
from shared.image.plan import Config, Inputs, Layer
from shared.image.scratch import Scratch, content
from shared.image.sources import Source
from shared.image.spec import BUILT_IN
from shared.image.tree import Content, File, Tree
from shared.model.image import ImageLock, ImageSpec, Java, LockedInput
from shared.model.value import canonical, sha256

RECIPE = 1
"""Counts changes of what comes of the same inputs: a part of the key."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LOADER = BUILT_IN / "loader"
_RESOURCES = "src/main/resources/"
_TESTS = "src/test/"


def layers(spec: ImageSpec, source: Path, lock: ImageLock, inputs: Inputs) -> tuple[Layer, ...]:
    """What lies over the base: a layer for each of the library's packages, then the jar. Reads the sources, no more.

    Permanent where the lock lacks what the spec asks for, or nothing is there to compile.
    """
    service = _Service.of(spec, source, lock, inputs)
    return (*_runtime(spec, lock, inputs), Layer("binary_tar", service.key, service.tree))


def config(spec: ImageSpec) -> Config:
    """What the image says of itself: it starts the service's jar, with the spec's arguments behind it."""
    options = ("-Djava.library.path=.",) if spec.native else ()
    return Config(
        entrypoint=("java", *options, "-jar", jar_name(spec)),
        cmd=spec.args,
        env={"PATH": PATH, **spec.env},
        labels=labels(spec),
        workdir="/",
        user=spec.user,
        ports=spec.ports,
    )


def jar_name(spec: ImageSpec) -> str:
    return f"{spec.name}_application.jar"


def _runtime(spec: ImageSpec, lock: ImageLock, inputs: Inputs) -> tuple[Layer, ...]:
    if spec.native is None:
        return ()
    locked = {each.name: each for each in lock.inputs if each.role == "native"}
    for name in spec.native.runtime:
        if name not in locked:
            raise Permanent(
                f"The lock of {spec.name} lacks the package {name}; run `./dmz image lock` again."
            )
    return tuple(debian.package_layer(locked[name], inputs, spec.exclude) for name in spec.native.runtime)


@dataclass(frozen=True)
class _Service:
    spec: ImageSpec
    java: Java
    sources: tuple[Source, ...]
    loader: tuple[Source, ...]
    jdk: tuple[LockedInput, ...]
    compiler: tuple[LockedInput, ...]
    jars: tuple[LockedInput, ...]
    inputs: Inputs

    @classmethod
    def of(cls, spec: ImageSpec, source: Path, lock: ImageLock, inputs: Inputs) -> _Service:
        if spec.java is None:
            raise Permanent(f"The image {spec.name} has no part java:, which its kind needs.")
        if spec.native:
            native.check(spec.native)
        chosen = tuple(
            each for each in sources.of(spec, source) if _wanted(each.place, spec.native is not None)
        )
        if not any(each.place.endswith(".java") for each in chosen):
            raise Permanent(f"There is no *.java below {source}; correct `source` in the image spec.")
        by_role = {
            role: tuple(each for each in lock.inputs if each.role == role)
            for role in ("jdk", "compiler", "jar")
        }
        if not by_role["jdk"] or (spec.native and not by_role["compiler"]):
            raise Permanent(f"The lock of {spec.name} names no compiler; run `./dmz image lock` again.")
        if len(by_role["jar"]) < len(spec.java.dependencies):
            raise Permanent(
                f"The lock of {spec.name} lacks a dependency's jar; run `./dmz image lock` again."
            )
        return cls(
            spec,
            spec.java,
            chosen,
            sources.read(_LOADER),
            by_role["jdk"],
            by_role["compiler"],
            by_role["jar"],
            inputs,
        )

    @property
    def key(self) -> str:
        native_part = self.spec.native
        return sha256(
            canonical(
                [
                    *("java", RECIPE, native.RECIPE, self.spec.name, self.java.main_class, self.java.release),
                    [native_part.library, list(native_part.flags), roots.identity(self.compiler)]
                    if native_part
                    else [],
                    roots.identity(self.jdk),
                    sorted([each.name, each.filename, each.path, each.sha256] for each in self.jars),
                    [[each.place, each.sha256] for each in self.sources],
                    [[each.place, each.sha256] for each in self.loader],
                ]
            )
        )

    def tree(self) -> Tree:
        scratch = Scratch()
        jars = javac.jars(self.jars, self.inputs, scratch)
        held = {name: jar.check(path, f"The jar {name}") for name, path in jars.items()}
        springs = spring.springs_loader(jars)
        libraries = {name: path for name, path in jars.items() if name != springs}
        root = roots.root(self.jdk, self.inputs)
        at = scratch.copy(self.sources, "src")
        made = javac.compiled(root, self.sources, at, libraries, self.java.release, scratch, "service")
        main = f"{self.java.main_class.replace('.', '/')}.class"
        if main not in made.classes and not any(main in names for names in held.values()):
            raise Permanent(
                f"No source and no jar holds the class {self.java.main_class}; correct java.main_class."
            )
        launcher, loader = spring.loader(jars[springs]) if springs else self._loader(root, scratch)
        whole = spring.entries(
            self.spec.name,
            self.java.main_class,
            jar.merge((made.classes, self._resources())),
            {name: content(path) for name, path in libraries.items()},
            loader,
        )
        tree = Tree()
        name = jar_name(self.spec)
        with (scratch.path / name).open("xb") as file:
            jar.write(file, spring.attributes(launcher, self.java.main_class), whole)
        tree.add(name, File(scratch.content(scratch.path / name), 0o644))
        if self.spec.native:
            build = native.Build(root, self.compiler, self.inputs, scratch)
            library = build.library(self.spec.native, self.sources, at, made.headers)
            tree.add(library.name, File(scratch.content(library), 0o644))
        return tree

    def _loader(self, root: Path, scratch: Scratch) -> tuple[str, Mapping[str, Content]]:
        at = scratch.copy(self.loader, "loader-src")
        made = javac.compiled(root, self.loader, at, {}, self.java.release, scratch, "loader")
        return spring.LAUNCHER, made.classes

    def _resources(self) -> dict[str, Content]:
        return {
            each.place.removeprefix(_RESOURCES): each.file().content
            for each in self.sources
            if each.place.startswith(_RESOURCES)
        }


def _wanted(place: str, with_native: bool) -> bool:
    if place.startswith(_TESTS):
        return False
    suffixes = (".java", *native.SUFFIXES, *native.HEADERS) if with_native else (".java",)
    return place.startswith(_RESOURCES) or place.endswith(suffixes)
