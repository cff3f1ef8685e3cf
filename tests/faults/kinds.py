"""What goes wrong: each kind picks its victims and moments by chance, and says which reasons it may give a run."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from shared.emulators.vm import record
from tests.faults import clocks
from tests.faults.fault import STAGES, Fault, Make
from tests.faults.lies import LIES, PAGES, Lie

if TYPE_CHECKING:
    from tests.faults.kit import Kit, Round


def kill(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """SIGKILL of stages and of the registry, whose files are on disk: the supervisor starts them again."""
    victims = [chance.choice((*STAGES, "registry", "sync")) for _ in range(chance.randint(1, 3))]
    pauses = [chance.expovariate(1 / 2.5) for _ in victims]

    def work() -> None:
        for victim, pause in zip(victims, pauses, strict=True):
            round_.rest(pause)
            kit.kill(victim)

    return Fault(f"kill {' '.join(victims)}", work, kills=True)


def machines(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """SIGKILL of a process in a VM: its first one, or any other."""
    pause, first, kind = chance.uniform(1, 9), chance.random() < 0.4, chance.choice(("outer", "inner"))
    pick = chance.random()

    def work() -> None:
        round_.rest(pause)
        guest: int | None = None
        while guest is None and not round_.over.wait(0.05):
            found = record.guests(kit.system.layout.machines)
            guest = next((pid for name, pid in sorted(found.items()) if kind in name), None)
        if guest is None:
            return
        inside = [guest] if first else _beside(guest) or [guest]
        with contextlib.suppress(ProcessLookupError):
            os.kill(inside[int(pick * len(inside))], signal.SIGKILL)

    marks = (
        r"VM \S+ (vanished|was silent too long|was (terminated|stopped))",
        r"The install on the \w+ VM failed",
        r"The smoke command failed",
    )
    return Fault(f"kill in the {kind} VM", work, marks)


def _beside(guest: int) -> list[int]:
    """The other processes of a VM."""
    home = _namespace(guest)
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return sorted(pid for pid in found if home and pid != guest and _namespace(pid) == home)


def _namespace(pid: int) -> str:
    try:
        return os.fspath(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def tpu(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """SIGKILL of the TPU service: its VMs die with it."""
    pause = chance.uniform(1, 9)

    def work() -> None:
        round_.rest(pause)
        kit.kill("tpu")

    return Fault("kill tpu", work, (r"VM \S+ vanished before it reported",))


def supervisor(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """SIGKILL of the supervisor itself: what it has begun is over, and asked again of the next one must complete."""
    after = 0.1 + chance.choice((chance.uniform(0, 3), chance.uniform(0, 12)))
    return Fault(f"kill the supervisor after {after:.1f} s", lambda: None, falls=after)


def broker(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """SIGKILL of Pub/Sub's emulator, with everything that it holds: it is started again, and runs go on."""
    pauses = [chance.expovariate(1 / 4) for _ in range(chance.choice((1, 1, 2, 3)))]

    def work() -> None:
        for each in pauses:
            round_.rest(each)
            kit.kill("pubsub")

    return Fault(f"kill pubsub {len(pauses)}x", work)


def pause(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """SIGSTOP: a stage that stands still for longer than its lease, a service that does not answer."""
    victims = [
        chance.choice((*STAGES, "registry", "tpu", "pubsub", "firestore"))
        for _ in range(chance.randint(1, 3))
    ]
    times = [(chance.expovariate(1 / 2), chance.uniform(0.3, 9)) for _ in victims]

    def work() -> None:
        for victim, (before, during) in zip(victims, times, strict=True):
            round_.rest(before)
            with kit.system.paused(victim):
                round_.rest(during)

    return Fault(f"pause {' '.join(victims)}", work)


def outage(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """A service that no stage reaches for some seconds; whoever was connected is cut off."""
    names = chance.sample(sorted(kit.relays), chance.randint(1, 2))
    times = [(chance.expovariate(1 / 3), chance.uniform(0.3, 6)) for _ in names]

    def work() -> None:
        for name, (before, during) in zip(names, times, strict=True):
            round_.rest(before)
            kit.relays[name].down(during)
            round_.rest(during)

    return Fault(f"outage of {' '.join(names)}", work)


def cut(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """Connections that die at a byte, of an answer or of a request."""
    orders = []
    for _ in range(chance.randint(1, 5)):
        name = chance.choice([*sorted(kit.relays), "registry", "upstream", "upstream"])
        way = chance.choice(("requests", "answers"))
        orders.append((name, way, int(2 ** chance.uniform(0, 22)), chance.expovariate(1 / 2)))

    def work() -> None:
        for name, way, after, before in orders:
            round_.rest(before)
            kit.relays[name].cut(way, after)

    told = " ".join(f"{name}/{way}@{after}" for name, way, after, _ in orders)
    return Fault(f"cut {told}", work)


def slow(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """An upstream or a registry that drips."""
    name = chance.choice(("upstream", "registry", "firestore"))
    pace, before, during = 2 ** chance.uniform(13, 18), chance.uniform(0, 4), chance.uniform(3, 15)

    def work() -> None:
        round_.rest(before)
        kit.relays[name].slow(pace)
        round_.rest(during)
        kit.relays[name].slow(0)

    return Fault(f"slow {name} at {pace / 1024:.0f} KiB/s", work)


def lie(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """An upstream that lies to the stages about a file of this round, or about a page."""
    if chance.random() < 0.25:
        name, about = chance.choice(sorted(PAGES)), chance.choice(sorted(round_.pages))
        spoil, marks = PAGES[name], (re.escape(round_.pages[about]),)
    else:
        name, about = chance.choice(sorted(LIES)), chance.choice(sorted(round_.files))
        spoil = LIES[name](chance, len(round_.files[about]))
        marks = tuple(re.escape(word) for word in round_.words(about))
    times = 1 << 30 if chance.random() < 0.5 else chance.randint(1, 3)
    told = Lie(about, spoil, name, since=chance.randint(1, 3), times=times)

    def work() -> None:
        kit.routes.lies.append(told)

    often = "always" if times > 1000 else f"{times}x"
    return Fault(
        f"lie '{name}' about {about.rsplit('/', 2)[-1] or about} {often} from {told.since}", work, marks
    )


def disk(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """The stages' temporary files find no room for some seconds."""
    before, during, left = chance.uniform(0, 6), chance.uniform(0.5, 8), chance.choice((0, 0, 4096, 200_000))

    def work() -> None:
        round_.rest(before)
        kit.scratch_disk.fill(left)
        round_.rest(during)
        kit.scratch_disk.empty()

    return Fault(f"disk full for {during:.1f} s but {left} bytes", work, (r"no space left|[Dd]isk",))


def store(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """The registry's disk is full, from the moment that something is uploaded or before, for some seconds."""
    # Room for nothing, for a part of a file, for a file and not for what is noted about it.
    whole = [(len(content) | 4095) + 1 for content in round_.files.values()]
    rooms = (
        0,
        4096,
        int(2 ** chance.uniform(12, 21)),
        *(size + 4096 * extra for size in whole for extra in (0, 2)),
    )
    left = [chance.choice(rooms) for _ in range(4)]
    met = chance.random() < 0.8
    times = [(chance.expovariate(1 / 2), chance.uniform(0.5, 6)) for _ in left]

    def work() -> None:
        staging = kit.system.layout.registry / "staging"
        # Uploads are short: what comes first is waited for, and more follow while there is no room.
        while met and not round_.over.wait(0.01) and not any(staging.iterdir()):
            pass
        for room, (before, during) in zip(left, times, strict=True):
            kit.store_disk.fill(room)
            round_.rest(during)
            kit.store_disk.empty()
            round_.rest(before)

    told = " ".join(f"{during:.1f} s but {room} bytes" for room, (_, during) in zip(left, times, strict=True))
    return Fault(
        f"registry's disk full for {told}", work, (r"cannot store this: (No space left|.*disk is full)",)
    )


def events(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """Every event again, later and in another order; all of them once more at the end."""
    kit.echo.times, kit.echo.delay = chance.randint(1, 3), chance.choice((0.2, 1.0, 3.0))

    def work() -> None:
        while not round_.over.wait(chance.uniform(1, 4)):
            if chance.random() < 0.3:
                kit.echo.repeat()
        kit.echo.repeat()

    return Fault(f"events {1 + kit.echo.times}x", work)


def instances(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """A second instance of a stage gets every event, too; each stands still for longer than its lease, in turn."""
    stage = chance.choice(("scanner", "sync", "sync", "sync", "inner"))
    pauses = [(chance.uniform(4.5, 9), chance.random() < 0.5) for _ in range(6)]

    def work() -> None:
        twin = kit.twin(stage)
        kit.relays["upstream"].slow(30_000)  # so that work takes long enough to be met in its middle
        with twin.serving():
            for during, first in pauses:
                # One of them is at work then, and the other one waits for its lease to run out.
                while not round_.over.wait(0.05) and not kit.system.claims(stage, done=False):
                    pass
                if round_.over.is_set():
                    return
                with kit.system.paused(stage) if first else twin.paused():
                    round_.rest(during)
            round_.over.wait()

    return Fault(f"two instances of {stage}", work)


KINDS: Mapping[str, Make] = {
    "kill": kill,
    "machines": machines,
    "tpu": tpu,
    "supervisor": supervisor,
    "broker": broker,
    "pause": pause,
    "outage": outage,
    "cut": cut,
    "slow": slow,
    "lie": lie,
    "disk": disk,
    "store": store,
    "clock": clocks.clock,
    "calendar": clocks.calendar,
    "tokens": clocks.tokens,
    "skew": clocks.skew,
    "events": events,
    "instances": instances,
}
DISKS = ("disk", "store")
"""Kinds that need file systems of their own, which only root can mount."""
ALONE = "supervisor"
"""The kind that has a round for itself: the others are done to a platform that is up."""
WEIGHTS: Mapping[str, float] = {
    "machines": 0.4,
    "tpu": 0.3,
    "supervisor": 0.3,
    "calendar": 0.5,
    "lie": 1.5,
    "kill": 1.5,
    "cut": 1.5,
}
"""How often a kind is taken; 1 where nothing stands here."""
