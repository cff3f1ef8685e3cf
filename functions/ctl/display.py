"""Shows a run under way: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from functions.ctl.progress import Line

_MARKS = {"waiting": Text("·", "dim"), "done": Text("✓", "green"), "failed": Text("✗", "red")}


class Display:
    """`with Display(console) as display:`; it leaves the last state on the screen."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=10) if console.is_terminal else None
        self._spinner = Spinner("dots")
        self._shown: dict[str, tuple[str, str]] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, lines: Iterable[Line]) -> None:
        """The state of every stage."""
        lines = tuple(lines)
        if self._live:
            self._live.update(self._table(lines))
        else:
            self._print_changes(lines)

    def _table(self, lines: tuple[Line, ...]) -> Table:
        table = Table.grid(padding=(0, 2))
        for line in lines:
            seconds = f"{line.seconds:.1f} s" if line.seconds is not None else ""
            mark = _MARKS.get(line.state, self._spinner)
            style = "dim" if line.state in ("waiting", "running") else ""
            table.add_row(
                mark,
                Text(line.stage, "bold"),
                Text(seconds),
                Text(line.text, style, overflow="ellipsis", no_wrap=True),
            )
        return table

    def _print_changes(self, lines: tuple[Line, ...]) -> None:
        """A log keeps every line: only a change of state is worth one."""
        for line in lines:
            known = self._shown.get(line.stage)
            if line.state == "waiting" or (known and known[0] == line.state):
                continue
            self._shown[line.stage] = (line.state, line.text)
            took = (
                f" in {line.seconds:.1f} s"
                if line.state in ("done", "failed") and line.seconds is not None
                else ""
            )
            text = f": {line.text}" if line.text and line.state != "running" else ""
            self._console.print(
                f"[{time.monotonic() - self._began:6.1f} s] {line.stage} {line.state}{took}{text}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
