"""Clocks that are wrong: a stage's, one instance's, and those by which a token or a signed index ends."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.faults import instance
from tests.faults.fault import STAGES, Fault
from tests.faults.tokens import LIFETIME

if TYPE_CHECKING:
    from tests.faults.kit import Kit, Round

_HOUR, _DAY = 3600.0, 86400.0


def clock(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """A stage's clock jumps, and later back."""
    jumps = []
    for stage in chance.sample(STAGES, chance.randint(1, 4)):
        size = chance.choice((-1, 1)) * chance.choice((chance.uniform(3, 30), chance.uniform(60, _HOUR)))
        jumps.append((stage, size, chance.uniform(0, 5), chance.uniform(0.3, 6)))

    def work() -> None:
        for stage, size, before, during in jumps:
            round_.rest(before)
            instance.set_clock(kit.sources, stage, size)
            round_.rest(during)
            instance.set_clock(kit.sources, stage, 0.0)

    # A VM is judged by how long ago it was asked for.
    marks = (r"VM \S+ (was silent too long|vanished before it reported)",)
    if all(abs(size) < 10 for _, size, _, _ in jumps):
        marks = ()
    return Fault("clock " + " ".join(f"{stage}{size:+.0f}s" for stage, size, _, _ in jumps), work, marks)


def calendar(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """A stage's clock is ahead by days, or back: signed indexes have expired then, or are of the future."""
    stages = chance.sample(STAGES, chance.randint(1, 2))
    # A Release of the kit is good for a day, advisories for three.
    days = chance.choice((chance.uniform(1.1, 2.9), chance.uniform(1.1, 60), -chance.uniform(1, 60)))
    before, during = chance.uniform(0, 6), chance.uniform(2, 20)

    def work() -> None:
        round_.rest(before)
        for stage in stages:
            instance.set_clock(kit.sources, stage, days * _DAY)
        round_.rest(during)
        for stage in stages:
            instance.set_clock(kit.sources, stage, 0.0)

    marks = (
        r"valid until .* \(Valid-Until\).* clock",
        r"in the future; check this machine's clock",
        r"the advisory data is of \S+, older than the policy's",
        r"VM \S+ (was silent too long|vanished before it reported)",
        r"The run is stuck in the stage \w+: it has not ended within \d+ minutes",
    )
    return Fault(f"calendar of {' '.join(stages)} {days:+.1f} days", work, marks)


def tokens(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """Access tokens that end before they are said to, as if the registry's clock were ahead, or long after."""
    stages = chance.sample(STAGES, chance.randint(1, 4))
    shift, said = chance.choice(
        ((-LIFETIME - 60.0, 3600), (chance.uniform(1, 8) - LIFETIME, 3600), (3600.0, 1), (3600.0, LIFETIME))
    )
    before, during = chance.uniform(0, 5), chance.uniform(1, 10)

    def work() -> None:
        round_.rest(before)
        for stage in stages:
            kit.metadata[stage].shift, kit.metadata[stage].said = shift, said
        round_.rest(during)
        for stage in stages:
            kit.metadata[stage].calm()

    told = f"tokens of {' '.join(stages)} live {LIFETIME + shift:.0f} s, said {said}"
    return Fault(told, work)


def skew(kit: Kit, round_: Round, chance: random.Random) -> Fault:
    """Two instances of a stage whose clocks differ: a lease that one has is over, or endless, for the other.

    The one whose clock is wrong dies over its work.
    """
    stage = chance.choice(("scanner", "sync", "sync", "inner"))
    size = chance.choice((-1, 1)) * chance.choice((chance.uniform(3, 30), chance.uniform(60, _HOUR)))

    pause = chance.expovariate(1 / 1.5)

    def work() -> None:
        twin = kit.twin(stage)
        twin.set_clock(size)
        kit.relays["upstream"].slow(60_000)  # so that they are at work together
        with twin.serving():
            while not round_.over.wait(0.02) and not kit.system.claims(stage, done=False):
                pass
            round_.rest(pause)
            kit.end_twin(stage)

    told = f"two instances of {stage}, one {size:+.0f} s and dead {pause:.1f} s into its work"
    return Fault(told, work, kills=True)
