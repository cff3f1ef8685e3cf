"""A workload's data services, brought up beside the run."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import httpx

from functions.local.services import Services, Show
from shared.errors import DmzError


class Launch:
    """Builds and launches in a thread of its own: the outer VM installs meanwhile."""

    def __init__(self, names: Sequence[str], tamper: bool) -> None:
        self._names, self._tamper = names, tamper
        self._thread: threading.Thread | None = None
        self.words = ""
        """What is being done, for people."""
        self.failure = ""
        """Why a service could not be brought up: without it the run would wait in vain."""

    def start(self, services: Services) -> None:
        if self._names:
            self._thread = threading.Thread(target=self._bring_up, args=(services,), daemon=True)
            self._thread.start()

    def mend(self, services: Services) -> None:
        """Leave a platform that goes on without the images that were tampered with."""
        if self._thread and self._tamper and not self.failure:
            self._thread.join()
            for name in self._names:
                services.bring_up(name, False, lambda _: None)

    def _bring_up(self, services: Services) -> None:
        for name in self._names:
            try:
                services.bring_up(name, self._tamper, self._show(name))
            except (DmzError, OSError, httpx.HTTPError) as error:
                self.failure = f"The data service {name} could not be brought up: {error}"
                return
            except Exception as error:  # in a thread it would end in silence
                said = f"{type(error).__name__}: {error}"
                self.failure = (
                    f"The data service {name} could not be brought up, a defect of dmz itself: {said}"
                )
                return

    def _show(self, name: str) -> Show:
        def show(text: str) -> None:
            self.words = f"{name}: {text}"

        return show
