"""A workload's own interpreter in a VM: fetched, pinned, unpacked, asked, found by scripts and installers."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.guest import (
    artifacts,
    fetch,
    interpreter,
    inventory,
    locked_python,
    process,
    python_tree,
)
from shared.guest.config import generic_id, parse
from shared.guest.console import Console
from shared.guest.failure import GuestError
from shared.guest.locked_python import Installer
from shared.guest.metadata import Metadata
from shared.model.value import sha256
from tests.guest.interpreting import MADE, SITE, Entry, bring, own, taken, wanting
from tests.guest.parts import Answer, config, server, token_answer, uv, wheel, wheel_record
from tests.guest.parts import sha256 as file_sha256
from tests.support import interpreters

# --- what comes, and what it is ---


def test_the_outer_vm_fetches_unpacks_and_tells(machine: Path) -> None:
    entry = bring(machine, MADE.content)
    assert entry["url"].endswith("/python.tar.gz")
    assert {key: entry[key] for key in ("sha256", "size", "path", "interpreter")} == {
        "sha256": MADE.sha256,
        "size": len(MADE.content),
        "path": str(machine / "opt/dmz/python.archive"),
        "interpreter": MADE.version,
    }
    assert process.output([str(python_tree.ROOT / "bin/python3"), "-V"]).strip() == f"Python {MADE.version}"
    assert python_tree.version() == MADE.version
    found = own(machine)
    assert [(each["name"], each["version"]) for each in found["packages"]] == [("pip", MADE.pip)]
    assert (found["python"], found["virtual"], found["strays"]) == (MADE.version, False, [])


def test_the_inner_vm_takes_what_the_lock_names(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, seen = "https://files.example/python.tar.gz", []
    fetch.LOCK.write_text(json.dumps({"generic": [{"url": url, "sha256": MADE.sha256, "size": 1}]}))

    def answer(method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        if path.endswith("/token"):
            return token_answer()
        seen.append(path)
        return 200, MADE.content

    with server(answer) as host:
        monkeypatch.setattr(artifacts, "HOST", host)
        interpreter.bring(wanting(url, "inner"), Metadata(host), Console(machine / "console.log"))
    (path,) = seen
    assert path.endswith(f"/files/{generic_id(MADE.sha256)}:download?alt=media")
    (entry,) = inventory.generic(inventory.FETCHED)
    assert (entry["url"], entry["sha256"], entry["interpreter"]) == (url, MADE.sha256, MADE.version)


def test_a_lock_of_other_bytes_than_the_workload_pins(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, other = "https://files.example/python.tar.gz", b"other bytes"
    fetch.LOCK.write_text(json.dumps({"generic": [{"url": url, "sha256": sha256(other), "size": 1}]}))

    def answer(method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        return token_answer() if path.endswith("/token") else (200, other)

    with server(answer) as host:
        monkeypatch.setattr(artifacts, "HOST", host)
        asked = wanting(url, "inner"), Metadata(host), Console(machine / "console.log")
        with pytest.raises(GuestError, match=f"the workload pins {MADE.sha256}"):
            interpreter.bring(*asked)
    assert not python_tree.ROOT.exists()


def script(text: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        interpreters.file(tar, "python/bin/python3", f"#!/bin/sh\n{text}\n".encode(), 0o755)
    return gzip.compress(buffer.getvalue())


def without() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        interpreters.file(tar, "python/install/bin/python3", b"", 0o755)
    return buffer.getvalue()


def hostile() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        interpreters.file(tar, "python/bin/python3", b"", 0o755)
        interpreters.file(tar, "../../usr/bin/python3", b"", 0o755)
    return buffer.getvalue()


REFUSED: dict[str, tuple[Callable[[], bytes], dict[str, str], str]] = {
    "another hash": (
        lambda: MADE.content,
        {"sha256": sha256(b"")},
        f"has {MADE.sha256}, and the workload pins {sha256(b'')}: not used",
    ),
    "another version": (lambda: MADE.content, {"version": "3.7"}, "and the workload declares 3.7: correct"),
    # 3.1 is no prefix of 3.11's minor version.
    "a version that begins alike": (lambda: MADE.content, {"version": "3.1"}, "declares 3.1"),
    "no interpreter in it": (without, {}, "has no python/bin/python3: name one"),
    "no archive": (lambda: b"nothing", {}, "is refused: .* is no tar archive"),
    "a hostile archive": (hostile, {}, "is refused: The archive holds .* which leads out of it"),
    "another machine's": (lambda: script("exit 3"), {}, "does not run here: "),
    "another Python": (lambda: script("echo pypy; echo 3.11.0"), {}, "is 'pypy' '3.11.0': only CPython"),
    "another ABI": (lambda: script("echo cpythont; echo 3.13.1"), {}, "'cpythont' .*: only CPython with its"),
    "no version": (lambda: script("echo cpython; echo 3.13"), {"version": "3.13"}, "only CPython"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_what_was_declared_is_one_sentence_and_gone(machine: Path, name: str) -> None:
    made, changes, words = REFUSED[name]
    with pytest.raises(GuestError, match=words) as caught:
        bring(machine, made(), **changes)
    assert "\n" not in str(caught.value)
    assert not python_tree.ROOT.exists()
    assert not python_tree.INDEX.exists()
    assert [each for each in inventory.generic(inventory.FETCHED) if "interpreter" in each] == []
    assert taken(machine) == []


def test_an_interpreter_without_its_minor_version_beside_it(machine: Path) -> None:
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(MADE.content)) as old,
        tarfile.open(fileobj=buffer, mode="w") as tar,
    ):
        for member in old:
            if member.name == "python/bin/python3":
                continue
            if member.name == f"python/bin/python{MADE.minor}":
                member.name = "python/bin/python3"
            tar.addfile(member, old.extractfile(member) if member.isreg() else None)
    bring(machine, buffer.getvalue())
    named = python_tree.ROOT / f"bin/python{MADE.minor}"
    assert process.output([str(named), "-V"]).strip() == f"Python {MADE.version}"
    assert own(machine)["strays"] == []


# --- what scripts and the lock's installer use ---


def test_the_workloads_scripts_find_it_first(there: Path) -> None:
    asked = wanting("https://files.example/python.tar.gz")
    made, lines = interpreter.environment(asked, process.BASE), list[str]()
    process.check(["sh", "-c", "python3 -V"], made, lines.append)
    assert lines == [f"Python {MADE.version}\n"]
    assert made["UV_PYTHON"] == MADE.minor
    assert interpreter.environment(asked, process.BASE | {"UV_PYTHON": "mine"})["UV_PYTHON"] == "mine"
    assert interpreter.environment(config(), process.BASE) == dict(process.BASE)


def test_uv_makes_its_environments_with_it(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in interpreter.environment(wanting("https://x/"), process.BASE).items():
        monkeypatch.setenv(name, value)
    uv("venv", "--no-config", str(there / "env"))
    assert (there / "env/bin/python").resolve() == (python_tree.ROOT / f"bin/python{MADE.minor}").resolve()
    monkeypatch.setenv("VIRTUAL_ENV", str(there / "env"))
    uv("pip", "install", "--no-config", "--no-index", str(wheel(there, "alpha", "1.0")))
    assert (there / f"env/lib/python{MADE.minor}/site-packages/alpha.py").exists()


def locked(path: Path) -> Entry:
    name, version = path.name.split("-")[:2]
    digest, record = file_sha256(path), wheel_record(path)
    return {
        "name": name,
        "version": version,
        "filename": path.name,
        "sha256": digest,
        "record": record,
        "build": [],
    }


@pytest.mark.parametrize("virtual", [True, False])
def test_a_lock_is_installed_into_it_and_into_its_environments(
    there: Path, monkeypatch: pytest.MonkeyPatch, virtual: bool
) -> None:
    monkeypatch.setattr(locked_python, "SCRATCH", there / "scratch")
    monkeypatch.setattr(locked_python, "WHEELS", there / "scratch/wheels")
    shelf = there / "shelf"
    shelf.mkdir()
    alpha = locked(wheel(shelf, "alpha", "1.0"))
    prefix = there / "env" if virtual else python_tree.ROOT / SITE
    entry = {"path": str(prefix), "python": MADE.version, "virtual": virtual, "packages": [alpha]}
    present = [] if virtual else own(there)["packages"]
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(shelf)}
    installer = Installer(dict(process.BASE) | offline, print)
    assert installer.install(entry, present) == 1
    (found,) = [each for each in taken(there) if each["path"] == str(prefix)]
    assert {each["name"]: each["record"] for each in found["packages"]}["alpha"] == alpha["record"]
    assert found["strays"] == []
    if virtual:
        assert (prefix / "bin/python").resolve().is_relative_to(python_tree.ROOT)


def test_of_two_pythons_of_a_minor_version_the_one_that_was_used(machine: Path) -> None:
    """The image's, unless the environment has the version of the workload's own."""
    theirs = process.output(["/usr/bin/python3", "-c", "import platform; print(platform.python_version())"])
    minor = ".".join(theirs.split(".")[:2])
    (python_tree.ROOT / "bin").mkdir(parents=True)
    (python_tree.ROOT / f"bin/python{minor}").touch()
    (python_tree.ROOT / "bin/python3.99").touch()
    python_tree.save(f"{minor}.99", {})
    assert locked_python.find_interpreter(theirs.strip()) == f"/usr/bin/python{minor}"
    assert locked_python.find_interpreter(f"{minor}.99") == str(python_tree.ROOT / f"bin/python{minor}")
    assert locked_python.find_interpreter("3.99.1") == str(python_tree.ROOT / "bin/python3.99")
    with pytest.raises(GuestError, match="add it to apt, or declare an interpreter"):
        locked_python.find_interpreter("3.98.0")


def test_its_own_pip_serves_where_the_images_may_be_too_old(there: Path) -> None:
    bundled = python_tree.ROOT / f"lib/python{MADE.minor}/ensurepip/_bundled"
    bundled.mkdir(parents=True, exist_ok=True)
    for each in bundled.iterdir():
        each.unlink()
    wheel(bundled, "pip", "99.0")
    next(bundled.iterdir()).rename(bundled / "pip-99.0-py3-none-any.whl")
    installer = Installer(dict(process.BASE), print)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locked_python, "SCRATCH", there / "scratch")
        installer._helper()
    assert (there / "scratch/pip/pip-99.0.dist-info").is_dir()


# --- what the VM is told ---


def test_the_configuration_goes_to_the_vm_and_back() -> None:
    asked = wanting("https://files.example/python.tar.gz")
    assert parse(asked.to_json()) == asked
    assert parse(config().to_json()).workload.interpreter is None


def test_a_pin_that_is_none_is_refused() -> None:
    asked = wanting("https://files.example/python.tar.gz", sha256="abc")
    with pytest.raises(GuestError, match="A digest is 'sha256:'"):
        parse(asked.to_json())
    broken = json.loads(asked.to_json())
    del broken["workload"]["interpreter"]["version"]
    with pytest.raises(GuestError, match="interpreter lacks the field version"):
        parse(json.dumps(broken))
