"""What a machine lacks is said before anything starts, with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.emulators.vm import idmap, preflight
from shared.errors import Permanent


def test_this_machine_runs_vms() -> None:
    assert preflight.lacks() == []
    preflight.require()


def test_missing_tools_are_named_in_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.shutil, "which", lambda tool, path: None)  # type: ignore[attr-defined]
    with pytest.raises(Permanent, match="`sudo apt-get install findutils mmdebstrap slirp4netns tar`"):
        preflight.require()


def test_an_ordinary_user_hears_of_every_lack_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    restricted = tmp_path / "apparmor"
    restricted.write_text("1\n")
    monkeypatch.setattr(preflight, "_APPARMOR", restricted)
    monkeypatch.setattr(preflight, "TUN", str(tmp_path / "absent"))
    monkeypatch.setattr(idmap, "SUBUID", tmp_path / "subuid")
    monkeypatch.setattr(idmap, "as_root", lambda: False)
    said = " ".join(preflight.lacks())
    for part in (
        "AppArmor keeps user namespaces",
        "is closed to this user",
        "subordinate ids",
        "or run as root",
    ):
        assert part in said


def test_switched_off_user_namespaces_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    off = tmp_path / "max_user_namespaces"
    off.write_text("0\n")
    monkeypatch.setattr(preflight, "_USER_NAMESPACES", off)
    assert preflight.lacks() == [f"User namespaces are off: `echo 10000 | sudo tee {off}`."]


def test_another_architecture_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.confine, "ARCHITECTURES", {"sparc": ()})  # type: ignore[attr-defined]
    assert "VMs need Linux on sparc" in preflight.lacks()[0]
