"""What has happened to the local platform while a run is watched."""

from __future__ import annotations

from functions.local import platform
from functions.local.layout import Layout
from shared.errors import Permanent


class News:
    """Each sentence once, those from before left out."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known = self._all()

    def fresh(self) -> list[str]:
        found = [said for said in self._all() if said not in self._known]
        self._known += found
        return found

    def _all(self) -> list[str]:
        try:
            up = platform.read(self._layout.platform)
        except Permanent:
            return []  # whoever needs it says so
        return list(up.notices) if up else []
