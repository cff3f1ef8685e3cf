"""The cache of layers where it cannot be one: one sentence."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.image.store import LayerStore


def test_a_file_in_the_place_of_the_cache(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(Permanent, match=r"cannot be written: .*name another place in XDG_CACHE_HOME"):
        LayerStore(tmp_path / "cache")


def test_a_cache_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LayerStore(tmp_path)

    def refused(**_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    # Root may write where the mode forbids it, so a mode would test nothing there.
    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(Permanent, match="cannot be written: Read-only file system; name another place"):
        LayerStore(tmp_path)
