"""A Python service: interpreter, packages and sources, each a layer, in the layout of Bazel's runfiles.

Only files are put in place; no installer, package or source runs. With `bytecode` the image's own interpreter
compiles its library and the packages (`pyc`), with `bytecode: all` the sources as well. Equal specs, locks and sources
give equal layers.

Each package has a directory of its own on the path, as with Bazel: a `.pth` file is not read, and a package that two
distributions share works if it has no `__init__.py` (PEP 420) or extends its own path.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.errors import Permanent
from shared.image import debian, pyc, sources, wheel_install
from shared.image.labels import labels
from shared.image.plan import Config, Inputs, Layer
from shared.image.python_paths import INTERPRETER, MAIN, Paths, manifest, repository
from shared.image.sources import Source
from shared.image.spool import constant
from shared.image.tree import File, Link, Tree
from shared.model.image import ImageLock, ImageSpec, LockedInput, Python
from shared.model.value import canonical, sha256

RECIPE = 2
"""Counts changes of what comes of the same inputs: a part of every key."""
_LIBRARY = "usr/lib/python3"
_PROGRAMS = "usr/bin/"


def layers(spec: ImageSpec, source: Path, lock: ImageLock, inputs: Inputs) -> tuple[Layer, ...]:
    """Interpreter, packages and workload, to lie over the base in this order. Reads the sources, nothing else yet.

    Permanent where the spec's program is not among the sources or the lock lacks the interpreter.
    """
    python = _python(spec)
    interpreter = [each for each in lock.inputs if each.role == "interpreter"]
    if not interpreter:
        raise Permanent(f"The lock of {spec.name} names no interpreter; run `./dmz image lock` again.")
    wheels = [each for each in lock.inputs if each.role == "wheel"]
    compiler = pyc.Compiler(lock, inputs) if python.bytecode else None
    paths = Paths(spec.name, tuple(each.name for each in wheels))
    return (
        _interpreter_layer(interpreter, spec.exclude, paths, inputs, compiler),
        _packages_layer(wheels, paths, inputs, compiler),
        _workload_layer(
            sources.of(spec, source), python.main, paths, compiler if python.bytecode == "all" else None
        ),
    )


def config(spec: ImageSpec) -> Config:
    """What the image says of itself: it starts the service's program, with the spec's arguments behind it."""
    return Config(
        entrypoint=(f"/{spec.name}/{spec.name}",),
        cmd=spec.args,
        env=dict(spec.env),
        labels=labels(spec),
        user=spec.user,
        ports=spec.ports,
    )


def _python(spec: ImageSpec) -> Python:
    if spec.python is None:
        raise Permanent(f"The image {spec.name} has no part python:, which its kind needs.")
    return spec.python


def _interpreter_layer(
    packages: Sequence[LockedInput],
    exclude: Sequence[str],
    paths: Paths,
    inputs: Inputs,
    compiler: pyc.Compiler | None,
) -> Layer:
    def tree() -> Tree:
        moved = _relocated(debian.package_tree([*map(inputs, packages)], exclude), paths)
        if compiler:
            moved.merge(compiler.compiled(moved))
        return moved

    key = _key("interpreter", paths, _digests(packages), sorted(exclude), compiler, debian.RECIPE)
    return Layer("interpreter", key, tree)


def _relocated(packages: Tree, paths: Paths) -> Tree:
    """Programs and library below the service's runfiles, where the interpreter finds the library beside itself
    (https://docs.python.org/3.11/c-api/init_config.html#init-path-config); records and licences stay."""
    tree = Tree()
    programs = []
    for path, node in packages.entries():
        if path.startswith(_PROGRAMS):
            programs.append(path.removeprefix(_PROGRAMS))
            tree.add(f"{paths.interpreter}/bin/{programs[-1]}", node)
        elif path.startswith(_LIBRARY):
            if not (isinstance(node, Link) and node.target.startswith("/")):
                tree.add(f"{paths.interpreter}/{path.removeprefix('usr/')}", node)
        elif path.startswith(("usr/share/doc/", f"{debian.RECORDS}/", "usr/lib/x86_64-linux-gnu/")):
            tree.add(path, node)
    found = sorted(name for name in programs if name.removeprefix("python3.").isdigit())
    if len(found) != 1:
        raise Permanent(
            f"The interpreter's packages bring {', '.join(found) or 'no program python3.*'}; name those of one Python."
        )
    tree.add(f"{paths.interpreter}/bin/python3", Link(found[0]))
    return tree


def _packages_layer(
    wheels: Sequence[LockedInput], paths: Paths, inputs: Inputs, compiler: pyc.Compiler | None
) -> Layer:
    def tree() -> Tree:
        installed = wheel_install.packages_tree(wheels, inputs, paths)
        if compiler:
            installed.merge(compiler.compiled(installed))
        return installed

    named = sorted([repository(each.name), each.filename, each.sha256] for each in wheels)
    return Layer(
        "packages", _key("packages", paths, list(paths.sites()), named, wheel_install.RECIPE, compiler), tree
    )


def _workload_layer(files: Sequence[Source], main: str, paths: Paths, compiler: pyc.Compiler | None) -> Layer:
    if main not in {each.place for each in files}:
        raise Permanent(f"The program {main} is not among the sources; correct `main` in the image spec.")
    module = main.removesuffix(".py").replace("/", ".")

    def tree() -> Tree:
        made = Tree()
        for each in files:
            made.add(f"{paths.main}/{each.place}", each.file())
        if compiler:
            made.merge(compiler.compiled(made))
        start = f'runpy.run_module("{module}", run_name="__main__", alter_sys=True)'
        made.add(paths.program, File(constant(paths.script(start, imports="runpy sys", sources=True)), 0o755))
        listing = manifest(_runfiles(files, paths))
        made.add(f"{paths.program}.runfiles_manifest", File(constant(listing), 0o644))
        return made

    described = [[each.place, each.sha256, each.executable] for each in files]
    parts = (list(paths.sites()), main, described, *([compiler] if compiler else []))
    return Layer("workload", _key("workload", paths, *parts), tree)


def _runfiles(files: Sequence[Source], paths: Paths) -> list[tuple[str, str]]:
    """Each source by itself; interpreter and packages as directories, as Bazel lists what is a tree to it."""
    places = [f"{MAIN}/{each.place}" for each in files]
    places += [f"{repository(name)}/site-packages" for name in paths.packages]
    return [(place, f"/{paths.runfiles}/{place}") for place in (*places, INTERPRETER)]


def _digests(packages: Sequence[LockedInput]) -> list[str]:
    return sorted(each.sha256 for each in packages)


def _key(layer: str, paths: Paths, *parts: object) -> str:
    """Of all that the layer follows from. A compiler stands for the packages that it is made of."""
    told = [part.identity if isinstance(part, pyc.Compiler) else part for part in parts]
    return sha256(canonical(["python", RECIPE, layer, paths.service, told]))
