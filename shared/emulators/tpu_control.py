"""What a test, or somebody who tries things out, does to the TPU platform while it runs: `state_dir/control.json`.

    no_capacity_zones   zones that have nothing left, in place of the configured ones
    preempt             Spot nodes that Google takes back: ids, or full names where ids repeat; each once, as soon as it
                        is READY, until it is named anew

Without the file all is as configured; a platform that starts removes what an earlier one was told. Write it beside and
rename it: what is not valid is said in the log, and skipped.
"""

import json
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from shared.emulators.tpu_capacity import Capacity
from shared.emulators.tpu_nodes import Nodes
from shared.errors import Permanent

FILE = "control.json"
_log = logging.getLogger(__name__)


class Control:
    """Applies the file in `state`. `apply` is called often, from one thread."""

    def __init__(self, state: Path, configured: Collection[str], capacity: Capacity, nodes: Nodes) -> None:
        self._path, self._configured = state / FILE, frozenset(configured)
        self._path.unlink(missing_ok=True)
        self._capacity, self._nodes = capacity, nodes
        self._text: str | None = None
        self._preempt: frozenset[str] = frozenset()
        self._done: set[tuple[str, str]] = set()  # what was named, and the node it was

    def apply(self) -> None:
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else None
        if text != self._text:
            self._text = text
            self._read(text)
        for word in self._preempt:
            for name in self._nodes.names():
                if word in (name, name.rsplit("/", 1)[-1]) and (word, name) not in self._done:
                    self._take_back(word, name)

    def _read(self, text: str | None) -> None:
        try:
            content: Any = json.loads(text) if text is not None else {}
            zones = _words(content, "no_capacity_zones", self._configured)
            preempt = _words(content, "preempt", ())
            if unknown := sorted(content.keys() - {"no_capacity_zones", "preempt"}):
                raise ValueError(f"it has a field that nobody reads, `{unknown[0]}`")  # noqa: TRY301 - one way out
        except ValueError as error:
            _log.warning("%s is left as it is: %s.", self._path, error)
            return
        self._capacity.set_empty(zones)
        self._preempt = preempt
        self._done = {(word, name) for word, name in self._done if word in preempt}

    def _take_back(self, word: str, name: str) -> None:
        try:
            self._nodes.preempt(name)
        except Permanent:
            return  # not READY yet, or not Spot: then never
        self._done.add((word, name))


def _words(content: Any, field: str, default: Collection[str]) -> frozenset[str]:
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - as json.loads raises
    words = content.get(field, list(default))
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"`{field}` is not a list of strings")
    return frozenset(words)
