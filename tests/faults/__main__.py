"""`python -m tests.faults`: faults by chance on a real platform, for as long as you like.

Each round submits one or two runs and injects what --only names (else any kind); then everything that must be true is
looked at (tests/faults/invariants.py). A round is repeated by `--seed S --first N --rounds 1`. Exit code 1 if anything
was wrong; the platform's directory, with its logs, then stays.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.kinds import DISKS, KINDS
from tests.faults.kit import Kit, Told


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", default="", help="any word: the same word, the same faults")
    parser.add_argument("--first", type=int, default=1, help="number of the first round")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--rounds", type=int, default=10, help="how many (default: 10)")
    length.add_argument("--minutes", type=float, help="begin no round after so many")
    parser.add_argument("--only", default="", help=f"kinds, separated by commas: {', '.join(KINDS)}")
    parser.add_argument(
        "--go-on", action="store_true", help="play on after a round in which something was wrong"
    )
    given = parser.parse_args()
    only = [word for word in given.only.split(",") if word]
    if unknown := sorted(set(only) - KINDS.keys()):
        print(f"There is no kind {', '.join(unknown)}: take some of {', '.join(KINDS)}.", file=sys.stderr)
        return 2
    seed = given.seed or secrets.token_hex(3)
    directory = Path(tempfile.mkdtemp(prefix="dmz-faults-"))
    print(f"seed {seed}, in {directory}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C does: the platform ends in order
    wrong, began, number = 0, time.monotonic(), given.first
    with Kit(directory, seed, only) as kit:
        if not kit.bounded and (without := [kind for kind in kit.only if kind in DISKS]):
            print(f"left out: {', '.join(without)}: only root can mount a small file system", flush=True)
        while _goes_on(given, number, began) and not (wrong and not given.go_on):
            told = kit.play(number)
            _tell(told)
            wrong += bool(told.wrong)
            if told.wrong:
                print(f"  again: --seed {seed} --first {number} --rounds 1; logs: {kit.system.layout.logs}")
            number += 1
    print(f"{number - given.first} rounds, {wrong} with something wrong, seed {seed}")
    if not wrong:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if wrong else 0


def _goes_on(given: argparse.Namespace, number: int, began: float) -> bool:
    if given.minutes is not None:
        return bool(time.monotonic() - began < given.minutes * 60)
    return bool(number < given.first + given.rounds)


def _tell(told: Told) -> None:
    print(f"round {told.number}: {'; '.join(told.faults)} -> {' | '.join(told.ends)} ({told.seconds:.0f} s)")
    for each in told.wrong:
        print(f"  WRONG: {each}")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
