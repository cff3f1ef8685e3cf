"""`python -m tests.image.kit.child SPEC OUT LAYERS INPUTS CODEC`: one build, as a process of its own.

Prints `MANIFEST CONFIG`. Three variables are for the kit:
`KIT_LEAK` names something of this machine that is put into a layer of its own, as a builder would that was not careful:
the kit must see the difference. `KIT_SHUFFLE` lets directories be read in another order, `KIT_CLOCK` moves the clock.
"""

from __future__ import annotations

import ctypes
import io
import json
import locale
import mmap
import os
import random
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any


def cpu_features() -> str:
    """CPUID leaf 1, ECX: what this processor says that it can do (Intel SDM, volume 2, CPUID)."""
    code = bytes.fromhex("53b8010000000fa289c85bc3")  # push rbx; mov eax,1; cpuid; mov eax,ecx; pop rbx; ret
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return str(ctypes.CFUNCTYPE(ctypes.c_uint32)(start)() & 0x7FFFFFFF & ~(1 << 27))


def weekday() -> str:
    locale.setlocale(locale.LC_ALL, "")
    return time.strftime("%A", time.gmtime(0))


def umask() -> str:
    mask = os.umask(0)
    os.umask(mask)
    return str(mask)


def leaks(spec: Path, layers: Path) -> dict[str, Callable[[], str]]:
    source = spec.parent / "src"
    before = len([path for path in layers.rglob("*") if path.is_file()]) if layers.is_dir() else 0
    return {
        "zone": lambda: time.strftime("%H", time.localtime(0)),
        "locale": weekday,
        "umask": umask,
        "user": lambda: str(os.getuid()),
        "checkout": lambda: __file__,
        "place": lambda: str(spec),
        "home": lambda: str(Path.home()),
        "host": socket.gethostname,
        "clock": lambda: time.strftime("%Y"),
        "year": lambda: str(time.gmtime().tm_year),
        "order": lambda: " ".join(os.listdir(source)),  # noqa: PTH208 - the order is what it is about
        "processors": lambda: str(len(os.sched_getaffinity(0))),
        "features": cpu_features,
        "python": lambda: sys.version + sys.executable,
        "hash": lambda: " ".join({f"name-{number}" for number in range(20)}),
        "cache": lambda: str(before > 0),
        "lock": lambda: json.loads(spec.with_name(f"{spec.stem}.lock.json").read_bytes())["inputs"][0]["url"],
    }


def leak(name: str, spec: Path, layers: Path) -> None:
    """Let every plan have one layer more, with what `name` says."""
    from shared.image import build
    from shared.image.plan import Layer
    from shared.image.tree import Content, File, Tree

    text = leaks(spec, layers)[name]().encode()
    real = build.plan

    def tree() -> Tree:
        made = Tree()
        made.add("leak", File(Content(len(text), lambda: io.BytesIO(text)), 0o644))
        return made

    def plan(*given: Any) -> Any:
        found = real(*given)
        return replace(found, layers=(*found.layers, Layer("leak", "leak", tree)))

    build.plan = plan


def shuffle(seed: int) -> None:
    """Directories come in another order than the file system's."""
    scandir, listdir, order = os.scandir, os.listdir, random.Random(seed)  # noqa: S311 - an order, no secret

    def other(given: list[Any]) -> list[Any]:
        found = sorted(given, key=os.fspath)
        order.shuffle(found)
        return found if found != given else found[::-1]  # few names come in the same order by chance

    class Entries:
        def __init__(self, *given: Any) -> None:
            with scandir(*given) as entries:
                self._entries = iter(other(list(entries)))

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            return next(self._entries)

        def close(self) -> None: ...

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None: ...

    def names(*given: Any) -> list[Any]:
        return other(listdir(*given))

    os.scandir, os.listdir = Entries, names  # type: ignore[assignment,misc]


def move_clock(seconds: int) -> None:
    """Let Python's clocks be off by so much: libfaketime makes some of its sleeps fail, so long builds go without."""
    import datetime

    now, now_ns, real = time.time, time.time_ns, datetime.datetime

    class Moved(real):  # type: ignore[misc,valid-type]
        @classmethod
        def now(cls, zone: Any = None) -> Any:
            return real.fromtimestamp(time.time(), zone)

    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + seconds * 10**9
    for name in ("localtime", "gmtime"):
        given = getattr(time, name)
        setattr(time, name, lambda at=None, given=given: given(time.time() if at is None else at))
    datetime.datetime = Moved  # type: ignore[misc]


def codecs() -> str:
    """What every codec makes of the same files: all of the build that a processor could have a say in."""
    import hashlib

    from shared.image import codec, tar
    from shared.image.tree import Content, File, Tree

    made = Tree()
    for number in range(40):
        data = hashlib.shake_256(b"%d" % number).digest(3000) + b"text that repeats itself, " * 400
        made.add(f"file-{number}", File(Content(len(data), lambda data=data: io.BytesIO(data)), 0o644))
    found = []
    for name in ("gzip", "zstd", "stored"):
        sink = io.BytesIO()
        written = codec.write(tar.blocks(made), name, sink)
        found.append(hashlib.sha256(sink.getvalue()).hexdigest() + written.digest)
    return " ".join(found)


def main(words: list[str]) -> int:
    if os.environ.get("KIT_SHUFFLE"):
        shuffle(int(os.environ["KIT_SHUFFLE"]))
    if os.environ.get("KIT_CLOCK"):
        move_clock(int(os.environ["KIT_CLOCK"]))
    if words == ["codecs"]:
        said = cpu_features() if os.environ.get("KIT_LEAK") else ""
        print(codecs(), said)
        return 0
    spec, out, layers, inputs = (Path(word) for word in words[:4])
    from shared.image.inputs import Cache
    from shared.image.make import make

    if os.environ.get("KIT_LEAK"):
        leak(os.environ["KIT_LEAK"], spec, layers)
    built = make(str(spec), out, layers, words[4], Cache(inputs)).built  # type: ignore[arg-type]
    print(built.manifest, built.config)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
