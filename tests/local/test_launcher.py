"""The launcher `dmz`, in a small checkout of its own: a real virtual environment, no packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from functions.local.layout import CHECKOUT

TOOLS = (
    "sh",
    "env",
    "uname",
    "readlink",
    "dirname",
    "cat",
    "cut",
    "sha256sum",
    "id",
    "mktemp",
    "rm",
    "tail",
    "printf",
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("a checkout") / "with spaces"
    (root / "functions" / "ctl").mkdir(parents=True)
    shutil.copy(CHECKOUT / "dmz", root / "dmz")
    for name in ("requirements.txt", "requirements-dev.txt"):
        (root / name).write_text("# nothing\n")
    (root / "functions" / "__init__.py").write_text("")
    (root / "functions" / "ctl" / "__init__.py").write_text("")
    (root / "functions" / "ctl" / "__main__.py").write_text(
        "import os, sys\nprint(sys.argv[1:], os.getcwd())\n"
    )
    return root


def call(command: Path, *words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | variables
    return subprocess.run(
        (command, *words),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_from_anywhere_through_a_link_it_hands_over_its_words_and_installs_once(
    checkout: Path, tmp_path: Path
) -> None:
    link = tmp_path / "l i n k"
    link.symlink_to(checkout / "dmz")
    (tmp_path / "functions").mkdir()  # what lies in the working directory is not ours to import
    (tmp_path / "functions" / "__init__.py").write_text("raise SystemExit('the wrong functions')")
    first = call(link, "status", "two words", cwd=tmp_path)
    assert first.stdout == f"['status', 'two words'] {tmp_path}\n", first.stderr
    assert "installing the pinned Python packages" in first.stderr
    second = call(checkout / "dmz", "status", cwd=tmp_path)
    assert (second.stdout, second.stderr) == (f"['status'] {tmp_path}\n", "")


def test_changed_requirements_are_installed_and_what_cannot_be_is_said(
    checkout: Path, tmp_path: Path
) -> None:
    call(checkout / "dmz", "status", cwd=tmp_path)
    (checkout / "requirements.txt").write_text("no-such-package-at-all==1.0\n")
    try:
        refused = call(checkout / "dmz", "status", cwd=tmp_path)
        assert refused.returncode == 1
        assert "requirements.txt could not be installed; the whole log is in" in refused.stderr
        assert refused.stdout == ""
    finally:
        (checkout / "requirements.txt").write_text("# nothing\n")


def test_without_a_python_that_is_new_enough_it_is_one_sentence(tmp_path: Path) -> None:
    shutil.copy(CHECKOUT / "dmz", tmp_path / "dmz")
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    for tool in TOOLS:
        (bin_directory / tool).symlink_to(shutil.which(tool) or "")
    (bin_directory / "python3").write_text("#!/bin/sh\nexit 1\n")  # 3.9 would answer the question so
    (bin_directory / "python3").chmod(0o755)
    answer = call(tmp_path / "dmz", "status", cwd=tmp_path, PATH=str(bin_directory))
    assert answer.returncode == 1
    assert (
        answer.stderr == "dmz: Python 3.11 or later is needed and was not found; install python3 (3.11+).\n"
    )


def test_missing_system_packages_are_named_in_one_line_where_apt_is_not_allowed(
    checkout: Path, tmp_path: Path
) -> None:
    call(checkout / "dmz", "status", cwd=tmp_path)
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    present = (*TOOLS, "gpgv", "gpg", "dpkg", "xz", "ip", "setpriv", "java", "newuidmap")
    for tool in present:
        (bin_directory / tool).symlink_to(shutil.which(tool) or shutil.which("true") or "")
    (bin_directory / "id").unlink()
    (bin_directory / "id").write_text("#!/bin/sh\necho 1000\n")
    (bin_directory / "id").chmod(0o755)
    answer = call(checkout / "dmz", "run", cwd=tmp_path, PATH=str(bin_directory))
    assert answer.returncode == 1
    last = answer.stderr.splitlines()[-1]
    assert last.startswith("dmz: install these system packages, then try again: mmdebstrap slirp4netns ")


@pytest.fixture
def machine(checkout: Path, tmp_path: Path) -> Path:
    """A PATH with every system package that a test needs, and no Terraform."""
    directory = tmp_path / "bin"
    directory.mkdir()
    source = (checkout / "dmz").read_text()
    packages = re.findall(r"^(?:vms|images|tests)='([^']*)'", source, re.MULTILINE)
    programs = [pair.partition(":")[0] for pair in " ".join(packages).split()]
    assert {"mmdebstrap", "zstd"} <= {*programs}
    for tool in {*TOOLS, *programs, "java"}:
        (directory / tool).symlink_to(shutil.which(tool) if tool in TOOLS else shutil.which("true"))
    return directory


def _terraform(machine: Path, words: str) -> None:
    program = machine / "terraform"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{words}' 'on linux_amd64'\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    "version", ["", "Terraform v1.8.5", "Terraform v0.15.0", "Terraform v2.0.0", "rubbish"]
)
def test_without_terraform_its_tests_are_named_in_one_line_and_in_ci_nothing_is_tested(
    version: str, checkout: Path, machine: Path, tmp_path: Path
) -> None:
    if version:
        _terraform(machine, version)
    call(checkout / "dmz", "test", cwd=tmp_path, CI="")
    answer = call(checkout / "dmz", "test", cwd=tmp_path, PATH=str(machine), CI="")
    said = "Terraform 1.9 or later (https://developer.hashicorp.com/terraform/install)"
    assert answer.stderr == f"dmz: the tests of Terraform are skipped: they need {said}.\n"
    assert answer.stdout == f"['test'] {tmp_path}\n"
    refused = call(checkout / "dmz", "test", cwd=tmp_path, PATH=str(machine), CI="true")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"dmz: install {said}, then try again.\n"


@pytest.mark.parametrize("version", ["Terraform v1.9.0", "Terraform v1.13.0-beta1"])
def test_with_terraform_nothing_is_said(version: str, checkout: Path, machine: Path, tmp_path: Path) -> None:
    _terraform(machine, version)
    call(checkout / "dmz", "test", cwd=tmp_path, CI="")
    answer = call(checkout / "dmz", "test", "tests/x", cwd=tmp_path, PATH=str(machine), CI="true")
    assert (answer.stdout, answer.stderr) == (f"['test', 'tests/x'] {tmp_path}\n", "")


def test_style_and_types_need_no_terraform(checkout: Path, machine: Path, tmp_path: Path) -> None:
    call(checkout / "dmz", "test", cwd=tmp_path, CI="")
    answer = call(checkout / "dmz", "test", "lint", cwd=tmp_path, PATH=str(machine), CI="true")
    assert (answer.stdout, answer.stderr) == (f"['test', 'lint'] {tmp_path}\n", "")


def test_the_script_is_posix_shell() -> None:
    assert subprocess.run(("dash", "-n", CHECKOUT / "dmz"), check=False).returncode == 0
    assert os.access(CHECKOUT / "dmz", os.X_OK)
    assert os.access(CHECKOUT / ".ci" / "run", os.X_OK)
