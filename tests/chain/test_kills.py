"""Processes die at any moment: the run still ends, with the same lock, one VM of each kind, and nothing left over."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from functions.local import leftovers, platform
from functions.local.layout import CHECKOUT, layout
from shared.machines import vm_name
from shared.model.lock import Lock
from shared.ports.store import Document
from tests.chain import world as goods
from tests.chain.goods import module
from tests.chain.system import PATIENCE, System, environment_of, eventually, wanted, workload
from tests.chain.world import World

STEPS = {"outer": 2, "scanner": 1, "sync": 2, "inner": 2}
"""Events that each stage handles in a run whose plan is one shard."""


@pytest.fixture(scope="module")
def undisturbed(system: System) -> Lock:
    """The lock of a run that nothing happened to."""
    run = system.ended(system.request("undisturbed"))
    assert run["state"] == "completed", run
    return system.lock(run)


def ended_well(system: System, run_id: str, lock: Lock | None = None) -> Document:
    """The run's document; nothing of what happened shows in the end."""
    run = system.ended(run_id)
    assert run["state"] == "completed", run
    assert (run["inner"]["missing"], run["inner"]["unexpected"]) == ([], [])
    if lock:
        assert run["lock"] == lock.digest
    held = system.stored()
    for repository, hashes in wanted(system.lock(run)).items():
        assert hashes <= held[repository]
    created = system.creations()
    assert [created[vm_name(kind, run_id)] for kind in ("outer", "inner")] == [1, 1]
    assert not any(name.endswith(run_id) for name in system.vms())
    eventually(lambda: not list(system.connection.documents.find("outbox", "type", "run-completed")))
    return run


def new_package(world: World, name: str, size: int = 0) -> str:
    """A package that the repositories do not hold yet; the path of its file."""
    # Random, or a compressed upload would be over too soon.
    noise = random.Random(name).randbytes(size // 2).hex()  # noqa: S311 - only to be incompressible
    return world.shelf.add(name, module(name, "1.0", f"noise = '{noise}'"))


def install(*names: str) -> str:
    return goods.INSTALL.replace(" depot", " ".join(("", "depot", *names)))


def finished(system: System) -> set[str]:
    return {key for stage in STEPS for key in system.claims(stage, done=True)}


def working(system: System, stage: str, seen: set[str]) -> str:
    """The key of an event that the stage is handling or has just handled, which is not among `seen`."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:  # as fast as it goes: some steps take 30 ms
        for done in (False, True):
            if new := system.claims(stage, done=done).keys() - seen:
                return new.pop()
    pytest.fail(f"The {stage} stage got nothing to do (load {os.getloadavg()[0]:.1f}).")


def test_every_stage_is_killed_in_the_middle_of_each_of_its_steps(
    system: System, world: World, undisturbed: Lock
) -> None:
    plan = world.hold("/simple/courier/")
    shard = world.hold(new_package(world, "parcel"))
    known, killed, caught = finished(system), set[str](), set[str]()

    def kill(stage: str) -> None:
        key = working(system, stage, known | killed)
        with system.paused(stage):
            if key in system.claims(stage, done=False):
                caught.add(key)
            system.kill(stage)
        killed.add(key)

    with system.paused("tpu"):  # it cannot get further than asking for the VM
        run_id = system.request("killed-in-each-step", install=install("parcel"))
        kill("outer")
    for stage in ("outer", "scanner"):
        kill(stage)
    assert plan.reached.wait(PATIENCE)
    kill("sync")
    plan.go.set()
    assert shard.reached.wait(PATIENCE)
    kill("sync")
    with system.paused("tpu"):
        shard.go.set()
        kill("inner")
    kill("inner")
    run = ended_well(system, run_id)
    attempts = {
        key: fields["attempt"] for stage in STEPS for key, fields in system.claims(stage, done=True).items()
    }
    assert {key: attempts[key] for key in killed} == {key: 2 if key in caught else 1 for key in killed}
    # Three of the seven are caught by speed alone.
    assert (len(killed), len(caught) >= 4) == (7, True), caught
    lock = system.lock(run)
    assert [change.after.purl for change in lock.changes] == [c.after.purl for c in undisturbed.changes]


def test_every_stage_is_killed_between_commit_and_publication(system: System, undisturbed: Lock) -> None:
    """Pub/Sub stands still: the stage has committed its outcome and cannot publish. Then it dies."""
    known = finished(system)
    run_id = system.request("killed-before-publication")
    caught = []
    for stage in ("outer", "scanner", "sync", "inner"):
        # The steps that publish: the first of outer and inner only asks for a VM.
        if stage in ("outer", "inner"):
            known.add(working(system, stage, known))
        key = working(system, stage, known)
        known.add(key)
        with system.paused("pubsub"):
            eventually(lambda stage=stage, key=key: key in system.claims(stage, done=True))
            caught.append(bool(system.connection.documents.find("outbox", "key", key)))
            system.kill(stage)
    ended_well(system, run_id, undisturbed)
    # Where the event was out before Pub/Sub stood still there was nothing to lose; most must have been caught.
    assert caught.count(True) >= 2, caught


def test_outer_dies_when_the_vm_exists_and_nobody_has_noted_it(system: System, undisturbed: Lock) -> None:
    run_id = system.request("killed-after-creation")
    name = vm_name("outer", run_id)
    with contextlib.ExitStack() as firestore:
        with system.paused("tpu"):
            eventually(lambda: system.get("vms", name))
            # The stage has its answer from Firestore and waits for the TPU platform, which stands still.
            time.sleep(1)
            firestore.enter_context(system.paused("firestore"))
        eventually(lambda: name in system.vms(), "the node")
        system.kill("outer")
    ended_well(system, run_id, undisturbed)


@pytest.mark.parametrize("seed", [1])
def test_kills_at_random_moments(system: System, undisturbed: Lock, seed: int) -> None:
    """Two deaths of each stage and one of the registry, whenever it happens."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    victims = [*STEPS, *STEPS, "registry"]
    chance.shuffle(victims)
    run_id = system.request(f"killed-at-random-{seed}")
    for victim in victims:
        time.sleep(chance.expovariate(1 / 1.2))
        system.kill(victim)
    ended_well(system, run_id, undisturbed)


def test_the_registry_dies_in_the_middle_of_an_upload(system: System, world: World) -> None:
    size = 48 << 20
    staging = system.layout.registry / "staging"
    caught, over = threading.Event(), threading.Event()

    def kill() -> None:
        while not (caught.is_set() or over.is_set()):
            with contextlib.suppress(OSError):
                if any(1 << 20 < file.stat().st_size < size // 2 for file in staging.iterdir()):
                    system.kill("registry")
                    caught.set()

    for name in ("cargo", "ballast", "lading"):  # an upload may be over before anybody looks
        new_package(world, name, size)
        thread = threading.Thread(target=kill, daemon=True)
        run_id = system.request(f"registry-killed-over-{name}", install=install(name))
        over.clear()
        thread.start()
        try:
            ended_well(system, run_id)
        finally:
            over.set()
            thread.join()
        if caught.is_set():
            break
    assert caught.is_set()
    assert not list(staging.iterdir())


def test_the_vms_die_with_the_tpu_platform_and_the_run_says_so(system: System) -> None:
    run_id = system.request("tpu-killed", install="sleep 1000")
    name = vm_name("outer", run_id)
    eventually(lambda: system.vms().get(name) == "READY", "the VM")
    system.kill("tpu")
    run = system.ended(run_id)
    assert (run["state"], run["stage"]) == ("failed", "outer")
    assert run["reason"] == f"The outer VM {name} vanished before it reported; request the run again."
    again = system.ended(system.request("after-tpu-killed"))
    assert again["state"] == "completed", again


# --- the whole platform ---


@pytest.fixture
def places(world: World, tmp_path: Path) -> tuple[dict[str, str], list[str]]:
    """A state directory of its own: the environment, and the command of a run in it."""
    (tmp_path / "work.yaml").write_text(yaml.safe_dump(workload(install=f"{goods.INSTALL}\nsleep 2")))
    words = ["run", str(tmp_path / "work.yaml"), "--advisories", str(world.advisories), "--policy", "default"]
    return environment_of(tmp_path / "state", world), [os.fspath(CHECKOUT / "dmz"), *words]


@contextlib.contextmanager
def begun(environment: dict[str, str], command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """`./dmz run` whose outer VM is at work."""
    running = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    consoles = layout(environment).machines / "vms"

    def at_work() -> bool:
        assert running.poll() is None, running.communicate()
        return any("install script" in file.read_text() for file in consoles.glob("*/serial.log"))

    try:
        eventually(at_work, "an outer VM at work")
        yield running
    finally:
        if running.poll() is None:
            running.kill()
        running.communicate()


def gone(environment: dict[str, str]) -> Callable[[], bool]:
    home = layout(environment).home
    return lambda: not leftovers.processes(home) and not leftovers.mounts(home)


def without_the_store(running: subprocess.Popen[str], environment: dict[str, str]) -> None:
    """The Firestore emulator dies: one sentence says what happened and what to do, also to who asks afterwards."""
    up = platform.read(layout(environment).platform)
    assert up
    os.kill(up.pids["firestore"], signal.SIGKILL)
    said, errors = running.communicate(timeout=PATIENCE)
    sentence = (
        "The Firestore emulator was ended by signal 9. What it held in memory is lost, so the platform ends, and its "
        "runs with it: run the workload again."
    )
    assert (running.returncode, sentence in " ".join(said.split())) == (1, True), said
    assert "Traceback" not in said + errors
    assert gone(environment)()
    status = (os.fspath(CHECKOUT / "dmz"), "status")
    asked = subprocess.run(status, env=environment, capture_output=True, text=True, check=False)
    assert (asked.returncode, sentence in asked.stdout) == (3, True), asked.stdout


def test_nothing_survives_the_launcher_the_supervisor_or_the_store_and_the_next_run_works(
    places: tuple[dict[str, str], list[str]],
) -> None:
    environment, command = places
    with begun(environment, command) as running:
        running.send_signal(signal.SIGKILL)
        eventually(gone(environment), "the end of what a killed ./dmz run has started")
    with begun(environment, command) as running:
        without_the_store(running, environment)
    with begun(environment, command) as running:
        up = platform.read(layout(environment).platform)
        assert up
        os.kill(up.pid, signal.SIGKILL)
        said, errors = running.communicate(timeout=PATIENCE)
        assert running.returncode == 1
        assert "The platform" in said + errors
        assert "Traceback" not in said + errors
        eventually(gone(environment), "the end of what a killed supervisor has started")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert gone(environment)()
