"""The VM's metadata: deterministic, small enough, and runnable by a bare Python."""

from __future__ import annotations

import ast
import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.guest import bundle
from shared.guest.config import WorkloadConfig, parse
from tests.guest.parts import config


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    code = "from shared.guest import bundle; import sys; sys.stdout.write(bundle.zipapp())"
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert again == bundle.zipapp()


def test_metadata_of_a_vm() -> None:
    written = config("inner")
    values = bundle.metadata(written)
    assert set(values) == {"startup-script", "dmz-guest", "dmz-config"}
    assert parse(values["dmz-config"]) == written
    assert all(len(value) < bundle.MAX_VALUE for value in values.values())
    checked = subprocess.run(["bash", "-n"], input=values["startup-script"], text=True, check=False)
    assert checked.returncode == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(Permanent, match=r"dmz-config would have \d+ bytes.*workload big"):
        bundle.metadata(config(workload=WorkloadConfig("big", "#" * 300_000, "true")))
    scripts = WorkloadConfig("big", "#" * 120_000, "#" * 130_000, constraints=("a",) * 100)
    assert bundle.metadata(config(workload=scripts))


def test_the_zipapp_needs_nothing_beside_it(tmp_path: Path) -> None:
    guest = tmp_path / "guest.pyz"
    guest.write_bytes(base64.b64decode(bundle.zipapp()))
    names = zipfile.ZipFile(guest).namelist()
    assert "shared/guest/main.py" in names
    assert "shared/guest/bundle.py" not in names
    argv = ["/usr/bin/python3", "-I", "-S", str(guest), "fetch"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "dmz-fetch: dmz-fetch takes a URL and the path of the file to write.\n",
    )


def test_the_guest_is_written_for_python_3_10() -> None:
    newer = (
        "datetime.UTC",
        "tomllib",
        "StrEnum",
        "ExceptionGroup",
        "typing.Self",
        "TaskGroup",
        "batched",
        "hashlib.file_digest",
    )
    for path in Path(bundle.__file__).parent.glob("*.py"):
        text = path.read_text()
        ast.parse(text, feature_version=(3, 10))
        assert not [word for word in newer if word in text], path


def test_equal_hash_whatever_the_configuration() -> None:
    one, other = bundle.metadata(config()), bundle.metadata(config("inner"))
    assert (
        hashlib.sha256(one["dmz-guest"].encode()).digest()
        == hashlib.sha256(other["dmz-guest"].encode()).digest()
    )
