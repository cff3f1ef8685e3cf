"""Sync of MaxText's files beside what people use today: `pip download` with `twine upload`, and bandersnatch.

    .venv/bin/python -m tests.benchmarks.bench_peers {scripts,bandersnatch} [--files N] [--rounds N] [--folder FOLDER] \
        [--record FILE]

FOLDER keeps the peers' virtual environment and the files; a temporary one otherwise. With --files the first N files
alone are taken, by all. A round that is not counted comes first; then all take turns.

*scripts*: the same files from PyPI into the same Artifact Registry emulator. `pip download` fetches all in one call, by
name, version and hash, without its cache: that is quicker than a call for each file. `twine upload` is called for each
file with the emulator's own form and token. Start-up counts: a call for each file is what makes this way slow.

*bandersnatch*: the same files from an index on loopback that waits 50 ms before each answer (`delayed_index`). It knows
one version of each project, so its pages are shorter than PyPI's, for both. bandersnatch takes its ten workers, the
most that it allows, and an allow-list of names and versions; what its process takes to start is subtracted. It ends
with files in a folder, which is no registry; so it is compared twice, each time to the same end:
- both into a folder (`folder_registry`): sync reads the pages, makes lock and plan, proves and leaves each wheel;
- both into the emulator: sync uploads, and curl uploads what bandersnatch has fetched, eight at once.

Needs the network, and 4 GB of disk. Exits 1 if the median of the peer's time over ours is below 10 for the scripts, or
not above 1 for bandersnatch in each of the two.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shared.advisories.zips import ZipAdvisories
from shared.model.lock import Lock, LockedPython
from shared.model.manifest import ClaimedManifest, Environment
from shared.model.workload import Workload, find
from shared.ports.registry import Registry as PrivateRegistry
from shared.ports.upstream import Upstream
from shared.upstream import connect
from tests.benchmarks import bench_sync, figures, sync_stage
from tests.benchmarks.delayed_index import Offered, delayed_index
from tests.benchmarks.folder_registry import FolderRegistry
from tests.benchmarks.sync_stage import Registry

PEERS = ("bandersnatch==6.8.0", "pip==26.3", "twine==7.0.0")
DELAY = 0.05
"""Seconds."""
SCRIPTS, MIRROR, MIRROR_SENT = "scripts", "bandersnatch", "bandersnatch and curl"
LIMITS = {SCRIPTS: 10.0, MIRROR: 1.0, MIRROR_SENT: 1.0}
"""The peer's time over ours: at least, and more than."""
Round = dict[str, float]
"""sync_s and peer_s in seconds, files, and what else there is to say."""
_PYTHON = (
    "--python-version",
    "3.13",
    "--implementation",
    "cp",
    "--abi",
    "cp313",
    "--abi",
    "abi3",
    "--abi",
    "none",
)


class Refused(Exception):
    """A peer will not take a file."""

    def __init__(self, seconds: float) -> None:
        super().__init__("refused")
        self.seconds = seconds


@dataclass(frozen=True)
class Bench:
    """What both comparisons need."""

    folder: Path
    """Empty, and removed in the end."""
    kept: Path
    """What another call can use."""
    bin: Path
    registry: Registry
    manifest: ClaimedManifest

    def ours(
        self, repository: str, index: str = "", into: PrivateRegistry | None = None
    ) -> tuple[float, tuple[LockedPython, ...]]:
        """Seconds from the verdicts to the closed sync, and the files of the lock, all of which have arrived.

        `index`: another than PyPI. `into`: another registry than the emulator.
        """
        scratch = self.folder / "scratch"
        scratch.mkdir()
        more = {"python_index": index} if index else {}
        settings = self.registry.settings(python_repository=repository, **more)

        def upstream(workload: Workload) -> Upstream:
            # Of a part of the files not all that they depend on is there; nobody but us would ask.
            return replace(connect.upstream(settings, workload), unmet=lambda *_: "")

        world = sync_stage.new_world(
            self.registry, settings, ZipAdvisories(bench_sync.SNAPSHOT), upstream, scratch
        )
        world = replace(world, registry=into or world.registry)
        done = sync_stage.sync(world, self.manifest, find("maxtext"))
        lock = Lock.read(world.blobs.get(done.run["lock"]), "the lock")
        files = tuple(bench_sync.locked(lock))
        bench_sync.check_arrived(world.registry, repository, files)
        shutil.rmtree(scratch)
        return done.seconds, files

    def run(self, *command: str, refusal: str = "") -> float:
        """Seconds of one of the peers' commands. Settings of this machine for pip do not count, its index does.

        With `refusal` it may end badly, too: Refused if it says that.
        """
        environment = {key: value for key, value in os.environ.items() if key != "PIP_FIND_LINKS"}
        begun = time.perf_counter()
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]], capture_output=True, text=True, env=environment
        )
        seconds = time.perf_counter() - begun
        if done.returncode and refusal and refusal in done.stderr + done.stdout:
            raise Refused(seconds)
        if done.returncode:
            raise SystemExit(f"{command[0]} failed: {(done.stderr or done.stdout)[-800:]}")
        return seconds


def part(manifest: ClaimedManifest, count: int) -> ClaimedManifest:
    """The manifest with the first `count` packages of its first environment, and no other of PyPI's."""
    first, *_ = manifest.environments
    cut = Environment.model_validate(first.model_dump() | {"packages": first.packages[:count]})
    return ClaimedManifest.model_validate(manifest.model_dump() | {"environments": (cut,)})


def pip_arguments(files: Sequence[LockedPython]) -> list[str]:
    """Options that make pip, on whatever machine it runs, take wheels for the platforms that these files name."""
    platforms = {tag for file in files for tag in file.filename[:-4].rpartition("-")[2].split(".")} - {"any"}
    return [*_PYTHON, *(f"--platform={each}" for each in sorted(platforms))]


def scripts(bench: Bench, number: int) -> Round:
    """Ours, and pip with twine."""
    ours, files = bench.ours(f"ours-{number}")
    place = bench.folder / "downloaded"
    place.mkdir()
    pinned = bench.folder / "requirements.txt"
    pinned.write_text("\n".join(f"{file.name}=={file.version} --hash={file.sha256}" for file in files))
    quiet = ("--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--only-binary=:all:")
    fetched = bench.run("pip", "download", *quiet, *pip_arguments(files), "-d", str(place), "-r", str(pinned))
    url = f"{bench.registry.url}/{sync_stage.PROJECT}/peer-{number}/"
    user = ("-u", "oauth2accesstoken", "-p", bench.registry.token())
    where = ("--non-interactive", "--disable-progress-bar", "--repository-url", url)
    sent, refused = 0.0, set[str]()
    for path in sorted(place.iterdir()):
        try:
            sent += bench.run("twine", "upload", *where, *user, str(path), refusal="InvalidDistribution")
        except Refused as one:  # it is stricter about metadata than PyPI was when it took the file
            sent += one.seconds
            refused.add(path.name)
            print(f"twine refuses {path.name}", flush=True)
    arrived = [file for file in files if file.filename not in refused]
    bench_sync.check_arrived(bench.registry.client(bench.registry.settings()), f"peer-{number}", arrived)
    shutil.rmtree(place)
    print(f"{len(files)} files: sync {ours:.1f} s; pip {fetched:.1f} s + twine {sent:.1f} s", flush=True)
    return {
        "files": len(files),
        "sync_s": ours,
        "peer_s": fetched + sent,
        "pip_s": fetched,
        "twine_s": sent,
    }


def bandersnatch(bench: Bench, number: int, files: Sequence[Offered], address: str) -> dict[str, Round]:
    """Ours and bandersnatch from the same index: both into a folder, and both into the emulator."""
    mirrored, idle = _mirrored(bench, files, address)
    index = f"{address}/simple/"
    folder = bench.folder / "kept"
    folder.mkdir()
    kept, locked = bench.ours(f"kept-{number}", index, FolderRegistry(folder))
    shutil.rmtree(folder)
    stored, _ = bench.ours(f"ours-{number}", index)
    sent = bench_sync.curl(bench.registry, f"peer-{number}", locked, bench.kept / "files")
    print(
        f"{len(locked)} files into a folder: sync {kept:.1f} s, bandersnatch {mirrored:.1f} s, its start of "
        f"{idle:.1f} s taken off; into the emulator: sync {stored:.1f} s, bandersnatch and curl's {sent:.1f} s",
        flush=True,
    )
    count = len(locked)
    return {
        MIRROR: {"files": count, "sync_s": kept, "peer_s": mirrored},
        MIRROR_SENT: {
            "files": count,
            "sync_s": stored,
            "peer_s": mirrored + sent,
            "bandersnatch_s": mirrored,
            "curl_s": sent,
        },
    }


def _mirrored(bench: Bench, files: Sequence[Offered], address: str) -> tuple[float, float]:
    """Seconds that bandersnatch takes, and those of its start."""
    place = bench.folder / "mirror"
    config = bench.folder / "bandersnatch.conf"
    config.write_text(configuration(place, address, files))
    idle = bench.run("bandersnatch", "--version")
    seconds = bench.run("bandersnatch", "--config", str(config), "mirror") - idle
    found = {path.name for path in (place / "web" / "packages").rglob("*.whl")}
    if found != {file.path.name for file in files}:
        raise SystemExit(f"bandersnatch has {len(found)} of {len(files)} files, or others.")
    shutil.rmtree(place)
    return seconds, idle


def configuration(place: Path, address: str, files: Sequence[Offered]) -> str:
    """https://bandersnatch.readthedocs.io/en/latest/mirror_configuration.html"""
    allowed = "\n".join(f"    {file.name}=={file.version}" for file in files)
    return f"""[mirror]
directory = {place}
master = {address}
allow-non-https = true
api-method = simple
workers = 10
timeout = 60
stop-on-error = true
[plugins]
enabled =
    allowlist_project
    allowlist_release
[allowlist]
packages =
{allowed}
"""


def offered(files: Sequence[LockedPython], folder: Path) -> list[Offered]:
    """The files in `folder`, fetched if they are not there yet."""
    place = folder / "files"
    place.mkdir(exist_ok=True)
    missing = [file for file in files if not (place / file.filename).exists()]
    if missing:
        bench_sync.aria2c(missing, folder)
    return [Offered(file.name, file.version, place / file.filename, file.sha256[7:]) for file in files]


def ended(peer: str, rounds: Sequence[tuple[float, float]]) -> int:
    """Says the median of the peer's seconds over ours; the exit code."""
    median = statistics.median(theirs / ours for ours, theirs in rounds)
    limit = LIMITS[peer]
    said = "at least" if peer == SCRIPTS else "more than"
    print(
        f"{peer}: {median:.1f} times ours, the median of {len(rounds)} rounds, {os.cpu_count()} CPUs "
        f"(wanted: {said} {limit:.0f})"
    )
    return int(median < limit if peer == SCRIPTS else median <= limit)


def _installed(folder: Path) -> Path:
    """Where the peers' commands are."""
    place = folder / "peers"
    if not (place / "bin" / "bandersnatch").exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        pip = [str(place / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *PEERS]
        subprocess.run(pip, check=True)
    return place / "bin"


def _rounds(bench: Bench, peer: str, rounds: int) -> list[dict[str, Round]]:
    """Each round, by peer."""
    _, files = bench.ours("first")
    if peer == SCRIPTS:
        return [{SCRIPTS: scripts(bench, number)} for number in range(rounds)]
    with delayed_index(there := offered(files, bench.kept), DELAY) as address:
        return [bandersnatch(bench, number, there, address) for number in range(-1, rounds)][1:]


def main(arguments: argparse.Namespace, folder: Path) -> int:
    """The exit code."""
    load = os.getloadavg()[0]
    print(f"load {load:.1f} before", flush=True)
    folder.mkdir(exist_ok=True)
    manifest = bench_sync.maxtext()
    if arguments.files:
        manifest = part(manifest, arguments.files)
    bin_ = _installed(folder)
    names = ["first", *(f"{who}-{n}" for n in range(-1, arguments.rounds) for who in ("ours", "peer"))]
    with tempfile.TemporaryDirectory(prefix="bench-peers-", dir=folder) as name:
        registry = Registry(Path(name), names)
        try:
            bench = Bench(Path(name), folder, bin_, registry, manifest)
            rounds = _rounds(bench, arguments.peer, arguments.rounds)
        finally:
            registry.close()
    codes = []
    for peer in rounds[0]:
        found = [one[peer] for one in rounds]
        if arguments.record:
            figures.record(arguments.record, peer, found, load)
        codes.append(ended(peer, [(one["sync_s"], one["peer_s"]) for one in found]))
    return max(codes)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.bench_peers", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("peer", choices=(SCRIPTS, MIRROR))
    parser.add_argument("--files", type=int, default=0, help="take the first N files alone")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--record", type=Path, metavar="FILE", help="a JSON file that gets the figures")
    return parser.parse_args()


if __name__ == "__main__":
    given = _parsed()
    if given.folder:
        sys.exit(main(given, given.folder))
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as temporary:
        sys.exit(main(given, Path(temporary)))
