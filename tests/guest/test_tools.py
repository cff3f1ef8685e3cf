"""Settings of pip and uv."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from shared.guest import process, tools

_IMAGE = (
    "[global]\nextra-index-url = https://images.example/simple\nconstraint = /old\n[install]\nuser = no\n"
)


def test_the_settings_of_the_image_stay_unless_replaced() -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(tools.pip_conf(_IMAGE, {"constraint": "/new"}))
    assert dict(parser["global"]) == {
        "extra-index-url": "https://images.example/simple",
        "constraint": "/new",
    }
    assert dict(parser["install"]) == {"user": "no"}


def test_without_settings_of_the_image() -> None:
    text = tools.pip_conf("", {"index-url": "https://x/simple/", "extra-index-url": ""})
    assert text.splitlines()[:3] == ["[global]", "index-url = https://x/simple/", "extra-index-url = "]


def test_later_mappings_win() -> None:
    merged = tools.environment({"A": "1", "HOME": "/home/x"}, {"A": "2"})
    assert (merged["A"], merged["HOME"], merged["LANG"]) == ("2", "/home/x", process.BASE["LANG"])


def test_no_service_starts_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(tools, "POLICY", path)
    with tools.no_services():
        assert process.run([str(path)], process.BASE, print).exit_code == 101
    assert not path.exists()
    path.write_text("#!/bin/sh\nexit 0\n")
    with tools.no_services():
        assert path.read_text().endswith("exit 0\n")
    assert path.exists()
