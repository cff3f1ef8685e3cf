from __future__ import annotations

from tests.emulators.tpu.conftest import root, start

__all__ = ["root", "start"]
