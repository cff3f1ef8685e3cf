"""Columns of stacked pieces, as coordinates of a drawing. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 480, 150
_LEFT, _BOTTOM, _TOP = 52, 4, 10
_LEAST = 2.0
"""Units of height by which something that is there can be seen."""
_WIDEST = 26.0


@dataclass(frozen=True)
class Bar:
    """What one column shows, from the bottom up."""

    title: str
    link: str
    values: Sequence[float]


@dataclass(frozen=True)
class Piece:
    """One piece of a column."""

    kind: int
    """Place of its value."""
    y: float
    height: float


@dataclass(frozen=True)
class Column:
    """One column."""

    title: str
    link: str
    x: float
    width: float
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Line:
    """One line of the grid, with its number."""

    y: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A drawing, with its words for who does not see it."""

    title: str
    unit: str
    kinds: tuple[tuple[str, str], ...]
    """(class, name) of each kind of piece."""
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT


def chart(
    title: str,
    unit: str,
    kinds: Sequence[tuple[str, str]],
    bars: Sequence[Bar],
    label: Callable[[float], str],
    room: int = 25,
) -> Chart:
    """`bars` from left to right; there is room for `room` of them."""
    highest = max((sum(bar.values) for bar in bars), default=0.0)
    step = nice(highest / 3) if highest > 0 else 1.0
    top = max(step, math.ceil(highest / step) * step)
    tall = HEIGHT - _BOTTOM - _TOP
    slot = (WIDTH - _LEFT) / max(room, 1)
    width = min(_WIDEST, slot * 0.72)

    def height(value: float) -> float:
        return 0.0 if value <= 0 else max(_LEAST, value / top * tall)

    first = WIDTH - slot * len(bars)
    columns = []
    for place, bar in enumerate(bars):
        y, pieces = float(HEIGHT - _BOTTOM), []
        for kind, value in enumerate(bar.values):
            if (h := height(value)) > 0:
                y -= h
                pieces.append(Piece(kind, round(y, 2), round(h, 2)))
        x = first + slot * place + (slot - width) / 2
        columns.append(Column(bar.title, bar.link, round(x, 2), round(width, 2), tuple(pieces)))
    count = round(top / step)
    lines = tuple(
        Line(round(HEIGHT - _BOTTOM - tall * number / count, 2), label(step * number))
        for number in range(count + 1)
    )
    return Chart(title, unit, tuple(kinds), tuple(columns), lines)


def nice(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, … that is not below `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * each for each in (1, 2, 5, 10) if power * each >= value * 0.999)
