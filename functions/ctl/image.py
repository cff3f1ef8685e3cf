"""`./dmz image`: build, lock, push, publish, verify, run. Results on stdout, how it goes on stderr.

Layers and inputs are cached beside the platform's own caches; a layout goes where `--out` says, or into the state
directory. Whatever is wrong with what was given is told before anything is fetched or built.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from functions.ctl.display import Display
from functions.ctl.image_options import run_words
from functions.ctl.inputs import BadInput
from functions.ctl.progress import Line, size
from functions.local import platform
from functions.local.layout import Layout
from functions.local.project import bypass
from shared.errors import DmzError, Permanent
from shared.image import spec as specs
from shared.image.inputs import Cache
from shared.image.make import make
from shared.image.oci import read_layout
from shared.image.registry import Pushed, Registry
from shared.image.registry_logins import with_token
from shared.image.registry_reference import Reference
from shared.model.image import BuiltImage, ImageSpec
from shared.model.value import printable
from shared.settings import Settings, read

DIGESTS = specs.BUILT_IN / "digests.txt"
"""What `build --all` printed last, committed: `NAME MANIFEST CONFIG` for each image."""
LOCAL = "local"
Show = Callable[[str], None]


def image(arguments: argparse.Namespace, layout: Layout) -> int:
    """Exit codes: 0 done, 1 different or the status of what ran; errors are raised, BadInput for what was given."""
    match arguments.action:
        case "build":
            return _build_all(arguments, layout) if arguments.all else _build(arguments, layout)
        case "lock":
            return _lock(arguments, layout)
        case "push":
            return _push(arguments, layout)
        case "publish":
            return _publish(arguments, layout)
        case "verify":
            return _verify(arguments)
        case "revision":
            return _revision(arguments)
        case "smoke":
            return _smoke(arguments)
        case _:
            return _run(arguments)


def _build(arguments: argparse.Namespace, layout: Layout) -> int:
    if not arguments.spec or arguments.check:
        raise BadInput("Name one SPEC to build, or build --all; --check goes with --all.")
    spec = _usable(arguments.spec)
    with _Table() as table:
        built = _made(table, layout, arguments.spec, spec.name, arguments.codec, arguments.out)
    print(line(built))
    return 0


def _build_all(arguments: argparse.Namespace, layout: Layout) -> int:
    if arguments.spec or arguments.out:
        raise BadInput(
            "--all builds every image of the project, each to its own place: it takes no SPEC or --out."
        )
    if arguments.check and arguments.codec != "gzip":
        raise BadInput(f"{DIGESTS.name} holds the digests of gzip layers: --check takes no other codec.")
    names = specs.data_services()
    for name in names:
        _usable(name)
    committed = read_digests(DIGESTS) if arguments.check else {}
    lines: dict[str, str] = {}
    try:
        with _Table(names) as table:
            for name in names:
                lines[name] = line(_made(table, layout, name, name, arguments.codec, None))
    finally:
        print("\n".join(lines.values()))
    differing = differences(lines, committed) if arguments.check else []
    for sentence in differing:
        print(f"dmz: {sentence}", file=sys.stderr)
    return 1 if differing else 0


def _lock(arguments: argparse.Namespace, layout: Layout) -> int:
    from shared.image import lock  # takes half a second

    spec, path = _spec(arguments.spec)
    try:
        sources = (
            lock.snapshot_sources(arguments.snapshot, _inputs(layout))
            if arguments.snapshot
            else lock.default_sources(_inputs(layout))
        )
    except Permanent as error:
        raise BadInput(str(error)) from error
    with _Table([spec.name]) as table, table.row(spec.name) as show:
        found = lock.resolve(
            spec, sources, lambda text: show(text.removeprefix(f"{spec.name}: ")), path.parent
        )
        written = specs.write_lock(found, path)
    print(written)
    return 0


def _push(arguments: argparse.Namespace, layout: Layout) -> int:
    reference = _reference(arguments.reference)
    if not _is_layout(arguments.image):
        _usable(arguments.image)
    with _Table() as table:
        pushed = _send(table, layout, arguments, arguments.image, reference, Registry())
    print(pushed.reference)
    return 0


def _publish(arguments: argparse.Namespace, layout: Layout) -> int:
    spec = _usable(arguments.spec)
    settings, registry = _target(arguments.to, layout)
    host = f"{settings.location}-docker.pkg.dev"
    place = _reference(f"{host}/{settings.project}/{settings.image_repository}/{spec.name}")
    with _Table() as table:
        pushed = _send(table, layout, arguments, arguments.spec, place, registry)
    print(pushed.reference)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from shared.image.explain import compare

    try:
        digests = [
            read_layout(each, check_layers=False).manifest.digest for each in (arguments.one, arguments.other)
        ]
        difference = compare(arguments.one, arguments.other)
    except Permanent as error:
        raise BadInput(str(error)) from error
    if difference is None:
        print(f"same {digests[0]}")
        return 0
    print(f"different {' '.join(digests)}")
    if arguments.explain:
        print(difference.sentence)
    return 1


def _revision(arguments: argparse.Namespace) -> int:
    from shared.image.revision import revision

    spec, path = _spec(arguments.spec)
    print(revision(spec, path))
    return 0


def _smoke(arguments: argparse.Namespace) -> int:
    from functions.ctl.smoke import smoke

    if not _is_layout(str(arguments.layout)):
        raise BadInput(f"{arguments.layout} is no image layout: ./dmz image build services --out DIR.")
    return smoke(arguments.layout)


def _run(arguments: argparse.Namespace) -> int:
    from shared.image.run import run

    given, words = run_words(arguments.words)
    pairs = [*arguments.env, *given.env]
    for pair in pairs:
        if not pair.partition("=")[1]:
            raise BadInput(f"--env takes NAME=VALUE, not '{printable(pair, 100)}'.")
    if not _is_layout(str(given.layout)):
        raise BadInput(f"{given.layout} is no image layout: build one with ./dmz image build SPEC --out DIR.")
    env = dict(pair.split("=", 1) for pair in pairs)
    return run(given.layout, env=env, args=words, read_only=arguments.read_only or given.read_only)


def line(built: BuiltImage) -> str:
    """An image in `digests.txt`."""
    return f"{built.name} {built.manifest} {built.config}"


def read_digests(path: Path) -> dict[str, str]:
    """Name to line. BadInput if the file cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read ({error.strerror}); write it with ./dmz image build --all > {path}."
        ) from error
    return {each.partition(" ")[0]: each for each in lines}


def differences(built: dict[str, str], committed: dict[str, str]) -> list[str]:
    """A sentence for each image that is not as committed; what of it differs is named."""
    found = [
        f"{name} is committed, but there is no such image any more."
        for name in committed
        if name not in built
    ]
    for name, now in built.items():
        then = committed.get(name)
        if then is None:
            found.append(f"{name} is not in {DIGESTS.name} yet.")
        elif then != now:
            what = "its layers only" if now.split()[-1:] == then.split()[-1:] else "its configuration too"
            found.append(f"{name} is not as committed, {what}: {now} was built, {then} is committed.")
    return found


def _send(
    table: _Table, layout: Layout, arguments: argparse.Namespace, what: str, to: Reference, registry: Registry
) -> Pushed:
    """Push a layout, or what is built first."""
    directory = Path(what)
    if not _is_layout(what):
        name = _spec(what)[0].name
        directory = layout.home / "images" / name
        _made(table, layout, what, name, arguments.codec, directory)
    with table.row("push") as show:
        pushed = registry.push(directory, to, lambda done, total, _: show(f"{size(done)} of {size(total)}"))
        show(f"{size(pushed.bytes_sent)} sent, {pushed.blobs_there} blobs were there")
    return pushed


def _made(table: _Table, layout: Layout, what: str, name: str, codec: str, out: Path | None) -> BuiltImage:
    with table.row(name) as show:
        made = make(
            what,
            out or layout.home / "images" / name,
            layout.cache / "layers",
            codec,  # type: ignore[arg-type]  # argparse takes no other
            Cache(_inputs(layout)),
            show,
        )
        total = sum(layer.size for layer in made.built.layers)
        show(f"{len(made.built.layers)} layers, {size(total)}, in {printable(str(made.layout), 200)}")
    return made.built


def _inputs(layout: Layout) -> Path:
    return layout.cache / "inputs"


def _usable(name_or_path: str) -> ImageSpec:
    """The spec, if its lock and its sources are there as well."""
    spec, path = _spec(name_or_path)
    try:
        specs.read_lock(spec, path)
    except Permanent as error:
        raise BadInput(str(error)) from error
    if not (path.parent / spec.source).is_dir():
        raise BadInput(
            f"The sources of {spec.name}, {path.parent / spec.source}, are no directory: correct source: in {path}."
        )
    return spec


def _spec(name_or_path: str) -> tuple[ImageSpec, Path]:
    try:
        path = specs.find(name_or_path)
        return specs.read(path), path
    except Permanent as error:
        raise BadInput(str(error)) from error


def _reference(text: str) -> Reference:
    try:
        return Reference.parse(text)
    except Permanent as error:
        raise BadInput(str(error)) from error


def _is_layout(path: str) -> bool:
    return Path(path, "index.json").is_file()


def _target(to: str, layout: Layout) -> tuple[Settings, Registry]:
    """Whose repository, and how it is reached: the local platform's, or a Google Cloud project's."""
    up = platform.read(layout.platform) if to in ("", LOCAL) else None
    if up:
        settings = read(up.environment)
        token = layout.gcloud / "operator.token"
        host = f"{settings.location}-docker.pkg.dev"
        return settings, Registry(with_token(token.read_text), {host: settings.registry_endpoint})
    if to == LOCAL:
        raise BadInput("The local platform is not up, so nothing can be published to it: ./dmz up.")
    environment = {**os.environ, **({"GOOGLE_CLOUD_PROJECT": to} if to else {})}
    if not environment.get("GOOGLE_CLOUD_PROJECT"):
        raise BadInput(
            "It is not said where to publish: name a project with --to or GOOGLE_CLOUD_PROJECT, or start the local "
            "platform with ./dmz up."
        )
    os.environ.update(bypass(os.environ))
    try:
        settings = read(environment)
    except Permanent as error:
        raise BadInput(str(error)) from error
    host = f"{settings.location}-docker.pkg.dev"
    return settings, Registry(
        endpoints={host: settings.registry_endpoint} if settings.registry_endpoint else {}
    )


def _stderr() -> Console:
    return Console(stderr=True)


class _Table:
    """What goes on, on stderr: a line for each image and each push."""

    def __init__(self, names: tuple[str, ...] | list[str] = ()) -> None:
        self._display = Display(_stderr())
        self._lines = {name: Line(name, "waiting", None, "") for name in names}

    def __enter__(self) -> _Table:
        self._display.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.__exit__()

    @contextmanager
    def row(self, name: str) -> Iterator[Show]:
        """While it lasts, `name` is under way; what is shown last stays."""
        began, said = time.monotonic(), ""

        def show(text: str) -> None:
            nonlocal said
            said = text
            self._show(Line(name, "running", time.monotonic() - began, text))

        show("")
        try:
            yield show
        except (DmzError, OSError, KeyboardInterrupt):
            self._show(Line(name, "failed", time.monotonic() - began, said))
            raise
        self._show(Line(name, "done", time.monotonic() - began, said))

    def _show(self, line: Line) -> None:
        self._lines[line.stage] = line
        self._display.show(self._lines.values())
