"""Settings: every mistake has its sentence, a round trip changes nothing, the page is the code's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.local.layout import CHECKOUT
from shared import settings_page
from shared.errors import Permanent
from shared.settings import OTHERS, Settings, read, variable

GIVEN = {"GOOGLE_CLOUD_PROJECT": "my-project"}
KEY = "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"


def mistakes(stage: str = "", **environment: str) -> str:
    with pytest.raises(Permanent) as found:
        read(GIVEN | environment, stage)
    return str(found.value)


def test_all_mistakes_are_said_at_once() -> None:
    said = mistakes(
        GOOGLE_CLOUD_PROJECT="",
        DMZ_ZONE="us",
        DMZ_LEASE_SECONDS="soon",
        DMZ_ZONE_="x",
        DMZ_PYTHON_INDEX="pypi",
    )
    for each in (
        "GOOGLE_CLOUD_PROJECT is not set",
        "DMZ_ZONE must be a zone, us-central1-a say, not 'us'.",
        "DMZ_LEASE_SECONDS must be a whole number from 1 to 600, not 'soon'.",
        "There is no setting DMZ_ZONE_: did you mean DMZ_ZONE?",
        "DMZ_PYTHON_INDEX must be an address that begins with https:// or http://, not 'pypi'.",
    ):
        assert each in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        (
            "inner_project",
            ["My Project", "p", "-project", "project-"],
            ["example.com:my-project", "dmz-inner"],
        ),
        (
            "notify",
            ["http://hooks.test/x", "https://", "https://user:pass@hooks.test", "https://a b", "file:///x"],
            ["https://hooks.test/services/T0/B0?x=1", "http://127.0.0.1:8080/", "http://localhost"],
        ),
        ("location", ["us", "us-central1-a", "us-central1\n"], ["europe-west4"]),
        ("zone", ["us-central1", "us-central1-a,us-central1-b"], ["europe-west4-b"]),
        ("inner_network", ["Net", "projects/p/global/networks/n", "a" * 64], ["n", "a" * 63]),
        ("outer_service_account", ["outer-vm", "a@example.com"], ["a@p.iam.gserviceaccount.com"]),
        ("nonce_seconds", ["0", "3601", "-1", "1.5", "٣", "1" * 30, " 5"], ["1", "3600"]),
        ("shard_bytes", ["0"], ["1"]),
        ("attestation_signing_key", ["gcpkms://projects/p", KEY[:-2], "https://x"], [KEY, "/k.pem"]),
        ("advisories", ["gs://bucket", "https://"], ["https://api.osv.dev", "/advisories"]),
        ("tpu_endpoint", ["http://h:1", "host", "h:port"], ["127.0.0.1:80"]),
        ("registry_endpoint", ["h:80", "http://h/x"], ["http://127.0.0.1:80"]),
        ("sealed_by", ["a\nb"], ["sealed by route only"]),
        ("outer_debian_key", ["not armored"], ["-----BEGIN PGP PUBLIC KEY BLOCK-----\n…"]),
    ],
)
def test_a_value_has_its_form(name: str, bad: list[str], good: list[str]) -> None:
    for value in bad:
        assert mistakes(**{variable(name): value}).startswith(f"{variable(name)} must be ")
    for value in good:
        assert str(getattr(read(GIVEN | {variable(name): value}), name)) == value


def test_a_password_is_not_logged() -> None:
    assert "secret" not in mistakes(DMZ_PYTHON_INDEX="ftp://me:secret@host/")


def test_what_a_stage_opens_at_once_must_be_there(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    gone, there = {"DMZ_KEYRINGS": str(tmp_path / "gone")}, {"DMZ_KEYRINGS": str(tmp_path)}
    assert "which is no directory" in mistakes("sync", **gone)
    assert "which is no directory" in mistakes("sync", DMZ_KEYRINGS=str(file))
    assert read(GIVEN | there, "sync").keyrings == str(tmp_path)
    # Others are given the same settings, without the mount.
    assert read(GIVEN | gone, "outer").keyrings
    assert read(GIVEN | gone).keyrings
    assert "which cannot be looked at" in mistakes("sync", DMZ_KEYRINGS="x" * 5000)


def test_what_an_operator_may_bring_later_asks_for_its_directory_alone(tmp_path: Path) -> None:
    assert read(GIVEN | {"DMZ_BUILDERS": str(tmp_path / "builders.yaml")}, "attestation")
    assert "is no directory" in mistakes("attestation", DMZ_BUILDERS=str(tmp_path / "gone" / "builders.yaml"))


def test_the_command_lines_own_variables_are_no_mistake() -> None:
    assert read(GIVEN | dict.fromkeys((*OTHERS, "DMZ_TEST_CACHE", "PATH"), "x"))


_NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(
    network=_NAMES,
    seconds=st.integers(1, 600),
    size=st.integers(1, 1 << 40),
    inner=st.just("") | st.just("other-one"),
)
def test_a_round_trip_changes_nothing(network: str, seconds: int, size: int, inner: str) -> None:
    made = Settings(
        "my-project", inner_network=network, lease_seconds=seconds, shard_bytes=size, inner_project=inner
    )
    assert read(made.environment()) == made
    assert read(made.machines("inner").environment()) == made.machines("inner")


def test_every_variable_of_the_code_is_known() -> None:
    """A name in the sources is a setting, or one of OTHERS; and each of OTHERS is in the sources."""
    sources = [
        CHECKOUT / "dmz",
        *(path for room in ("functions", "shared") for path in (CHECKOUT / room).rglob("*.py")),
    ]
    used = {name for path in sources if path.name != "settings.py" for name in _DMZ.findall(path.read_text())}
    settings = {variable(one.name) for one in fields(Settings)}
    assert used - settings - set(OTHERS) == set()
    assert set(OTHERS) - used == set()


_DMZ = re.compile(r"\bDMZ_[A-Z_]*[A-Z]\b(?![_*])")


def test_the_page_is_the_codes() -> None:
    assert settings_page.PAGE.read_text() == settings_page.page(), "python -m shared.settings_page --write"


def test_the_readme_lists_them() -> None:
    text = settings_page.README.read_text()
    assert settings_page.readme(text) == text, "python -m shared.settings_page --write"
    assert text.count("| `DMZ_LEASE_SECONDS` |") == 1
    with pytest.raises(ValueError, match="0 places"):
        settings_page.readme("nothing")


def test_every_setting_has_a_meaning_and_somebody_who_sets_it() -> None:
    for row in re.findall(
        r"^\| `(?:DMZ|GOOGLE)_.*\|$", settings_page.page().split("Further")[0], re.MULTILINE
    ):
        _, name, value, _, meaning, by, _ = map(str.strip, row.split("|"))
        assert "" not in (value, meaning, by), name
    with_default = replace(Settings("p"), lease_seconds=7)
    assert with_default.environment()["DMZ_LEASE_SECONDS"] == "7"


def test_a_stage_with_a_bad_setting_ends_with_one_line_in_the_log() -> None:
    done = subprocess.run(
        (sys.executable, "-P", "-m", "functions.serve"),
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.fspath(CHECKOUT),
            "FUNCTION_SOURCE": "functions/sync/main.py",
            "FUNCTION_TARGET": "handle",
            "DMZ_LEASE_SECONDS": "0",
            "DMZ_KEYRINGS": "/nowhere",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    said = json.loads(line)
    assert said["severity"] == "CRITICAL"
    for name in ("GOOGLE_CLOUD_PROJECT", "DMZ_LEASE_SECONDS", "DMZ_KEYRINGS"):
        assert name in said["message"]
