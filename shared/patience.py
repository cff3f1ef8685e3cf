"""Trying again what may pass: with growing random pauses, with what the server asks for, and with an end.

1. A pause is random, so that many who failed together do not come back together.
2. Retry-After is kept (RFC 9110, section 10.2.3), and never shortened: whoever comes early is turned away again.
3. All pauses of one piece of work have a budget. What would exceed it fails at once: its event comes again later, which
   costs nothing meanwhile, and whoever waits here would be waiting inside a request that ends at 600 s.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from shared.errors import Transient

T = TypeVar("T")

BUDGET = 60.0
"""Seconds of pauses that one piece of work may take."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the operating system says of a full disk (errno(3))."""
_LONGEST = 10.0
"""Seconds of a pause that nobody has asked for."""


class Busy(Transient):
    """The server has asked to be left alone for a while."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


def passing(message: str, retry_after: str | None) -> Transient:
    """What to raise for an answer that may pass: `message` is a sentence, `retry_after` the header if there is one."""
    seconds = wanted(retry_after)
    if not seconds:
        return Transient(message)
    return Busy(f"{message.removesuffix('.')}, and asks to be left alone for {seconds:.0f} s.", seconds)


def wanted(retry_after: str | None) -> float:
    """Seconds that the header asks for, as a number or as a date; 0 if it says nothing that can be read."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(time.time(), UTC)).total_seconds())


class Budget:
    """Of pauses, in seconds: one piece of work hands the same one to everything that it tries again."""

    def __init__(self, seconds: float = BUDGET) -> None:
        self._left = seconds
        self.is_spent = False
        """It did not do for a pause: whatever shares it has to end."""

    def take(self, pause: float) -> bool:
        """False, and nothing taken, if that is more than what is left."""
        self.is_spent = pause > self._left
        if not self.is_spent:
            self._left -= pause
        return not self.is_spent


@contextmanager
def on_disk(whose: str) -> Iterator[None]:
    """A full disk is no defect, and passes: work beside this one ends, and gives its room back."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise Transient(f"There is no space left on the disk for the temporary files of {whose}.") from error


def persist(work: Callable[[], T], attempts: int, budget: Budget | None = None) -> T:
    """`work` until it succeeds; after a Transient again, `attempts` times in all and within the budget."""
    budget = budget or Budget()
    for attempt in range(1, attempts):
        try:
            return work()
        except Transient as error:
            pause = random.uniform(0.5, 1.0) * min(0.2 * 2**attempt, _LONGEST)  # noqa: S311 - 1
            if isinstance(error, Busy):
                pause += error.seconds  # 2
            if not budget.take(pause):  # 3
                raise
            time.sleep(pause)
    return work()
