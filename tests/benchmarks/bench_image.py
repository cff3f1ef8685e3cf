"""A Python image of some 300 MB built cold and again, against the floor of its bytes and against buildah and umoci.

    .venv/bin/python -m tests.benchmarks.bench_image [ROUNDS] [FOLDER]

Real inputs: five well-known packages with what they need, from PyPI, on a Debian base, resolved when FOLDER (a
temporary one otherwise) holds no lock yet. *Cold* is from the locked files to the layout, no layer in the cache. The
*floor* is what nobody can leave out, by the same libraries on as many threads as there are CPUs, nothing written:
inflate every input (after hashing it), hash and compress what came out, hash that. The peers, buildah (one `COPY` of
each layer's directory, pushed to a layout) and umoci (`insert`), take directories, so what `unzip` and `dpkg-deb -x`
need to unpack the same inputs, on all CPUs, is counted with them and said by itself. Debian 12's umoci knows gzip
alone. All take turns in each round. *Again* is with one source changed. Each build of ours is a new process, whose
start is not counted; peak memory is the cold build's.
Exits 1 if a limit is passed: 1.5 times the floor with zstd, behind a peer, 0.1 s again, 300 MiB.
"""

from __future__ import annotations

import json
import lzma
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import zstandard

from shared.image import build as building
from shared.image import lock as locking
from shared.image.deflate import LEVEL
from shared.image.inputs import Cache
from shared.image.oci import read_layout
from shared.model.image import Codec, ImageLock, ImageSpec

FLOOR, AGAIN, MEMORY = 1.5, 0.1, 300
"""Times the floor; seconds; MiB."""
CPUS = os.cpu_count() or 1
SPEC = ImageSpec.check(
    {
        "name": "bench",
        "kind": "python",
        "source": "src",
        "base": {
            "release": "bookworm",
            "packages": [
                "base-files",
                "ca-certificates",
                "libc6",
                "libexpat1",
                "libgomp1",
                "libssl3",
                "libstdc++6",
            ],
        },
        "python": {
            "requirements": [
                "matplotlib==3.10.3",
                "numpy==2.2.6",
                "pandas==2.2.3",
                "scikit-learn==1.6.1",
                "scipy==1.15.3",
            ],
            "bytecode": False,
        },
    },
    "the benchmark's spec",
)


def lock_in(folder: Path) -> ImageLock:
    path = folder / "lock.json"
    if not path.exists():
        resolved = locking.resolve(SPEC, locking.Sources(Cache(folder / "inputs")), print)
        path.write_bytes(resolved.canonical())
    return ImageLock.read(path.read_bytes(), str(path))


def ours(folder: Path, lock: ImageLock, codec: Codec) -> float:
    """Seconds from the locked files to the layout."""
    begun = time.perf_counter()
    cache = Cache(folder / "inputs")
    plan = building.plan(SPEC, folder / "spec.yaml", lock, cache.path)
    building.build(plan, SPEC, lock, folder / "out", codec, folder / "layers")
    return time.perf_counter() - begun


def in_a_process(folder: Path, codec: Codec) -> tuple[float, float, int]:
    """A build in a new process: seconds there, without Python's start; seconds of CPU; peak MiB."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_image", "--once", str(folder), codec]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, cpu, peak = json.loads(done.stdout)
    return seconds, cpu, peak


def once(folder: Path, codec: Codec) -> None:
    lock = lock_in(folder)
    before = _cpu()
    seconds = ours(folder, lock, codec)
    print(json.dumps([seconds, _cpu() - before, _peak()]))


def _peak() -> int:
    """MiB. Not ru_maxrss, which knows the parent's memory too, from before exec."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) // 1024


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def floor(folder: Path, lock: ImageLock, codec: Codec) -> tuple[float, float, int]:
    """Seconds, seconds of CPU and bytes of: inflate and hash the inputs; hash, compress and hash what they hold."""
    cache = Cache(folder / "inputs")
    paths = [cache.place(each.sha256, each.filename) for each in lock.inputs]
    begun, before = time.perf_counter(), _cpu()
    with ThreadPoolExecutor(CPUS) as pool:
        inflated = list(pool.map(_inflated, sorted(paths, key=lambda p: -p.stat().st_size)))
        pieces = [piece for pieces in inflated for piece in pieces]
        plain = pool.submit(_hashed, pieces)
        sha256(b"".join(_compressed(pieces, codec, pool))).digest()
        plain.result()
    return time.perf_counter() - begun, _cpu() - before, sum(map(len, pieces))


def _hashed(pieces: list[bytes]) -> bytes:
    total = sha256()
    for piece in pieces:
        total.update(piece)
    return total.digest()


def _compressed(pieces: list[bytes], codec: Codec, pool: ThreadPoolExecutor) -> list[bytes]:
    if codec == "zstd":
        stream = zstandard.ZstdCompressor(level=3, threads=CPUS).compressobj()
        return [*(stream.compress(piece) for piece in pieces), stream.flush()]
    return list(pool.map(lambda piece: zlib.compress(piece, LEVEL), pieces))


def _inflated(path: Path) -> list[bytes]:
    data = path.read_bytes()
    sha256(data).digest()
    if path.suffix == ".deb":
        return [_deb_data(data)]
    found = []
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            start = (
                info.header_offset
                + 30
                + sum(
                    data[info.header_offset + at] + 256 * data[info.header_offset + at + 1] for at in (26, 28)
                )
            )
            piece = data[start : start + info.compress_size]
            found.append(zlib.decompress(piece, -15) if info.compress_type else piece)
    return found


def _deb_data(data: bytes) -> bytes:
    """The archive's `data.tar.xz`, inflated (deb(5))."""
    at = 8
    while at < len(data):
        name, size = data[at : at + 16].strip(b" /"), int(data[at + 48 : at + 58])
        if name == b"data.tar.xz":
            return lzma.decompress(data[at + 60 : at + 60 + size])
        at += 60 + size + size % 2
    raise SystemExit("a Debian package without data.tar.xz")


def unpacking(folder: Path, lock: ImageLock) -> float:
    """Seconds that the usual tools need to unpack the inputs."""
    cache, place = Cache(folder / "inputs"), folder / "tools"
    commands = []
    for each in lock.inputs:
        path, to = cache.place(each.sha256, each.filename), place / each.filename
        deb = path.suffix == ".deb"
        commands.append(
            ["dpkg-deb", "-x", str(path), str(to)] if deb else ["unzip", "-q", str(path), "-d", str(to)]
        )
    place.mkdir()
    begun = time.perf_counter()
    with ThreadPoolExecutor(CPUS) as pool:
        list(pool.map(lambda command: _run(command, os.environ), commands))
    seconds = time.perf_counter() - begun
    shutil.rmtree(place)
    return seconds


def unpacked(folder: Path) -> list[Path]:
    """The layers of our image as directories, the lowest first: what the peers start from."""
    found = []
    for number, layer in enumerate(read_layout(folder / "out").layers):
        place = folder / "unpacked" / str(number)
        place.mkdir(parents=True)
        command = (
            f"{'zstd' if layer.media_type.endswith('zstd') else 'gzip'} -dc {layer.path} | tar -xpC {place}"
        )
        subprocess.run(["sh", "-c", command], check=True)
        found.append(place)
    return found


def buildah(folder: Path, layers: list[Path], codec: Codec) -> float:
    place = folder / "buildah"
    environment = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
    stored = ["--root", str(place / "root"), "--runroot", str(place / "run")]
    lines = ["FROM scratch", *(f"COPY {layer.name} /" for layer in layers)]
    (layers[0].parent / "Dockerfile").write_text("\n".join(lines))
    begun = time.perf_counter()
    _run(["buildah", *stored, "bud", "-q", "--layers", "-t", "bench", str(layers[0].parent)], environment)
    push = [
        "buildah",
        *stored,
        "push",
        "-q",
        f"--compression-format={codec}",
        "bench",
        f"oci:{place / 'out'}:latest",
    ]
    _run(push, environment)
    seconds = time.perf_counter() - begun
    shutil.rmtree(place)
    return seconds


def umoci(folder: Path, layers: list[Path]) -> float:
    place = folder / "umoci"
    begun = time.perf_counter()
    _run(["umoci", "init", "--layout", str(place)], os.environ)
    _run(["umoci", "new", "--image", f"{place}:latest"], os.environ)
    for layer in layers:
        _run(["umoci", "insert", "--image", f"{place}:latest", str(layer), "/"], os.environ)
    seconds = time.perf_counter() - begun
    shutil.rmtree(place)
    return seconds


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=dict(environment))
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")


def ended(results: dict[str, list[float]], again: float, peak: int) -> int:
    """Says the medians; the exit code."""
    median = {name: statistics.median(values) for name, values in results.items()}
    said = ", ".join(f"{name} {value:.2f} s" for name, value in median.items())
    ratio = median["zstd"] / median["floor zstd"]
    print(
        f"medians: {said}; again {again:.3f} s; peak {peak} MiB; zstd is {ratio:.2f} of its floor ({CPUS} CPUs)"
    )
    ahead = median["zstd"] < median["buildah zstd"] and median["gzip"] < min(
        median["buildah gzip"], median["umoci gzip"]
    )
    return int(not (ratio <= FLOOR and ahead and again < AGAIN and peak < MEMORY))


def cold(folder: Path) -> None:
    for name in ("layers", "out", "unpacked", "tools", "buildah", "umoci"):
        shutil.rmtree(folder / name, ignore_errors=True)


def main(rounds: int, folder: Path) -> int:
    (folder / "src").mkdir(parents=True, exist_ok=True)
    (folder / "src" / "main.py").write_text("print('hello')\n")
    lock = lock_in(folder)
    results: dict[str, list[float]] = {}
    peaks, seconds_again = [], []
    for _ in range(rounds):
        for codec in ("zstd", "gzip"):
            cold(folder)
            seconds, cpu, peak = in_a_process(folder, codec)
            peaks.append(peak)
            least, least_cpu, size = floor(folder, lock, codec)
            print(
                f"{size / 1e6:.0f} MB, {codec}: {seconds:.2f} s (CPU {cpu:.2f} s, peak {peak} MiB), "
                f"floor {least:.2f} s (CPU {least_cpu:.2f} s)",
                flush=True,
            )
            (folder / "src" / "main.py").write_text(f"print({time.time()})\n")
            seconds_again.append(in_a_process(folder, codec)[0])
            layers, before = unpacked(folder), unpacking(folder, lock)
            results.setdefault("unpacking", []).append(before)
            results.setdefault(codec, []).append(seconds)
            results.setdefault(f"floor {codec}", []).append(least)
            results.setdefault(f"buildah {codec}", []).append(before + buildah(folder, layers, codec))
            if codec == "gzip":
                results.setdefault("umoci gzip", []).append(before + umoci(folder, layers))
    return ended(results, statistics.median(seconds_again), max(peaks))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        once(Path(sys.argv[2]), sys.argv[3])  # type: ignore[arg-type]
    elif len(sys.argv) > 2:
        sys.exit(main(int(sys.argv[1]), Path(sys.argv[2])))
    else:
        with tempfile.TemporaryDirectory(prefix="bench-image-") as name:
            sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, Path(name)))
