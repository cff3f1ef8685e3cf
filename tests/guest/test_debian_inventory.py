"""dpkg's packages on this very machine, and the archives in a cache."""

from __future__ import annotations

import subprocess
from pathlib import Path

from shared.guest import dpkg_inventory, inventory
from shared.guest.inventory import Snapshot
from shared.model.manifest import ClaimedManifest
from tests.guest.parts import sha256

_PACKAGE = {
    "name": "jq",
    "version": "1:1.7~rc1-2",
    "architecture": "amd64",
    "source_name": "jq",
    "source_version": "1.7~rc1-2",
    "archive": None,
}


def test_archives_are_found_by_apts_file_names(tmp_path: Path) -> None:
    good = tmp_path / "jq_1%3a1.7~rc1-2_amd64.deb"
    good.write_bytes(b"archive")
    (tmp_path / "odd.deb").write_bytes(b"")
    (tmp_path / "linked_1_all.deb").symlink_to(good)
    found = dpkg_inventory.archive_hashes(tmp_path)
    assert found == {("jq", "1:1.7~rc1-2", "amd64"): sha256(good)}
    assert dpkg_inventory.archive_hashes(tmp_path / "none") == {}


def test_every_installed_package_is_told_with_its_source(tmp_path: Path) -> None:
    found = dpkg_inventory.packages(tmp_path)
    listed = subprocess.run(["dpkg", "--list"], capture_output=True, text=True, check=True).stdout
    assert len(found) == sum(line[:2] in ("ii", "hi") for line in listed.splitlines())
    (bsdutils,) = [each for each in found if each["name"] == "bsdutils"]
    assert bsdutils["source_name"] == "util-linux"
    assert bsdutils["version"] != bsdutils["source_version"]


def test_a_claim_of_this_machine_is_a_valid_manifest(tmp_path: Path) -> None:
    before = Snapshot([], [])
    debian = dpkg_inventory.packages(tmp_path)
    claim = inventory.claim("small", before, Snapshot(debian, []), tmp_path / "none")
    manifest = ClaimedManifest.check(claim, "The claim")
    assert len(manifest.debian) == len(debian)
    assert manifest.release.id in ("debian", "ubuntu")


def test_what_was_there_before_is_base_unless_it_changed(tmp_path: Path) -> None:
    digest = "sha256:" + "1" * 64
    python = {"name": "six", "version": "1.16.0", "record": digest}
    place = {"path": "/opt/x", "managed_by_dpkg": False, "strays": []}
    tampered = python | {"record": None}
    before = Snapshot([_PACKAGE], [place | {"packages": [python, python | {"name": "old"}]}])
    after = Snapshot(
        [_PACKAGE | {"archive": digest}, _PACKAGE | {"version": "2", "archive": digest}],
        [
            place | {"packages": [python, tampered | {"name": "old"}, python | {"name": "new"}]},
            place | {"path": "/opt/y", "packages": [python]},
        ],
    )
    claim = inventory.claim("small", before, after, tmp_path / "none")
    assert [(each["in_base"], each["archive"]) for each in claim["debian"]] == [(True, None), (False, digest)]
    assert [[one["in_base"] for one in each["packages"]] for each in claim["environments"]] == [
        [True, False, False],
        [False],
    ]
