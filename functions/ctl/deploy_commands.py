"""Commands of a deployment: how an operator types them, and how they are run.

A command may hand its output to one filter, and that to one file: `terraform … output -json | jq … > FILE`. It is run
without a shell; the file is replaced only when both have succeeded, so that a death leaves the former one.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from shared.errors import Permanent

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SAFE_IN_QUOTES = str.maketrans({"\\": "\\\\", '"': '\\"', "`": "\\`"})


class Expanded(str):
    """A word in which a shell's variables stand: a plan shows these where values are not known yet. Never run."""


class Verbatim(str):
    """A word that a shell reads as it stands: with a pattern of file names, say. Never run."""


def joined(*parts: str) -> str:
    """One word; a shell's variables in it stay such."""
    text = "".join(parts)
    return Expanded(text) if any(isinstance(part, Expanded) for part in parts) else text


@dataclass(frozen=True)
class Command:
    """Words, the filter that reads their output, the file (below the checkout) that takes it."""

    words: tuple[str, ...]
    filter: tuple[str, ...] = ()
    to: str = ""

    def typed(self) -> str:
        """As a shell takes it."""
        text = _line(self.words)
        if self.filter:
            text += f" | {_line(self.filter)}"
        return f"{text} > {_word(self.to)}" if self.to else text

    def lines(self) -> Iterator[str]:
        """As a script with `set -e` takes it: whatever fails ends it, and leaves the file as it was.

        A pipe would not end it, nor would what stands before `&&`.
        """
        if not self.to:
            yield self.typed()
            return
        new = joined(self.to, ".new")
        if self.filter:
            read = joined(self.to, ".read")
            yield f"{_line(self.words)} > {_word(read)}"
            yield f"{_line(self.filter)} < {_word(read)} > {_word(new)}"
            yield f"rm {_word(read)}"
        else:
            yield f"{_line(self.words)} > {_word(new)}"
        yield f"mv {_word(new)} {_word(self.to)}"


@dataclass(frozen=True)
class Runner:
    """Runs commands in a checkout."""

    root: Path
    environment: Mapping[str, str]

    def run(self, command: Command) -> int:
        """Its exit code (that of what failed first); what it says is shown, or goes to its file."""
        if not command.to:
            return self._done(command.words, None, None)[0]
        code, output = self._filtered(command)
        if code == 0:
            _replace(self.root / command.to, output)
        return code

    def read(self, command: Command) -> tuple[int, str]:
        """Exit code and output; its complaints are shown."""
        code, output = self._filtered(command)
        return code, output.decode(errors="replace")

    def _filtered(self, command: Command) -> tuple[int, bytes]:
        code, output = self._done(command.words, None, subprocess.PIPE)
        if code or not command.filter:
            return code, output
        return self._done(command.filter, output, subprocess.PIPE)

    def _done(self, words: Sequence[str], given: bytes | None, stdout: int | None) -> tuple[int, bytes]:
        with _patient() as patience:
            try:
                process = subprocess.Popen(
                    words,
                    cwd=self.root,
                    env=dict(self.environment),
                    stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
                    stdout=stdout,
                    # It would end at once, and leave its lock.
                    preexec_fn=_ignore_hangup,
                )
            except OSError as error:
                raise Permanent(f"{words[0]} cannot be started ({error.strerror}).") from error
            patience.started(process)
            output, _ = process.communicate(given)
        return process.returncode, output or b""


class _Patience:
    """Passes on to a command what is asked of us, from before it is there."""

    def __init__(self) -> None:
        self.asked = False
        self._passed_on = False
        self._process: subprocess.Popen[bytes] | None = None

    def started(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        if self._passed_on:
            process.send_signal(signal.SIGINT)

    def hear(self, number: int, _: FrameType | None) -> None:
        self.asked = True
        # A terminal sends Ctrl-C to the command itself.
        if number != signal.SIGINT or not os.isatty(0):
            self._passed_on = True
            if self._process:
                self._process.send_signal(signal.SIGINT)


def _ignore_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@contextmanager
def _patient() -> Iterator[_Patience]:
    """Ctrl-C, SIGTERM and a terminal that hangs up become the command's SIGINT.

    Terraform then ends what it has begun, writes its state and frees the lock; a second signal would break that off.

    Afterwards KeyboardInterrupt is raised.
    """
    patience = _Patience()
    before = {number: signal.signal(number, patience.hear) for number in _STOPS}
    try:
        yield patience
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if patience.asked:
        raise KeyboardInterrupt


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(path.name + ".new")
    new.write_bytes(content)
    new.replace(path)


def _line(words: Sequence[str]) -> str:
    return " ".join(_word(word) for word in words)


def _word(word: str) -> str:
    if isinstance(word, Verbatim):
        return str(word)
    return f'"{word.translate(_SAFE_IN_QUOTES)}"' if isinstance(word, Expanded) else shlex.quote(word)
