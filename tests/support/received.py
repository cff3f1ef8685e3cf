"""Where a function that a test deployed leaves what it got: the framework loads it as a module of its own."""

from typing import Any

received: list[Any] = []
