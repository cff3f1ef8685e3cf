"""Boot, run, enter, delete; limits; and what stays when the engine is killed: nothing."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shared.emulators.vm import disk, idmap, limits, record
from shared.emulators.vm.engine import Engine
from shared.emulators.vm.spec import Limits, Platform, VmSpec
from shared.errors import Permanent, Transient
from tests.emulators.vm.conftest import KEY, inside, serial, spec


def test_a_vm_is_up_when_it_was_booted(engine: Engine) -> None:
    for name in ("first", "second", "third"):
        vm = engine.boot(spec(name))
        assert vm.alive
        assert (vm.directory / "pid").read_text() == f"{vm.pid}\n"


@pytest.mark.parametrize("times", [1, 2])
def test_a_boot_that_ended_before_it_spoke_is_begun_again_once(
    engine: Engine, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, begun = engine._start, []

    def fails(*given: Any) -> Any:
        begun.append(given)
        if len(begun) <= times:
            raise OSError("it ended early, at the step 'map', with -9")
        return start(*given)

    monkeypatch.setattr(engine, "_start", fails)
    if times == 1:
        assert engine.boot(spec("again")).alive
    else:
        with pytest.raises(Transient, match="did not start: it ended early, at the step 'map', with -9"):
            engine.boot(spec("again"))
    assert len(begun) == 2
    begun.clear()
    monkeypatch.setattr(engine, "_start", lambda *given: begun.append(given) or _full())
    with pytest.raises(Transient, match="did not start: No space left"):
        engine.boot(spec("full"))
    assert len(begun) == 1


def _full() -> None:
    raise OSError("No space left")


def test_the_startup_script_runs_as_after_boot(engine: Engine) -> None:
    script = "#!/usr/bin/python3\nimport os\nprint(os.getuid(), os.getcwd(), os.environ.get('HOME'))\n"
    script += "print(sorted(os.environ))\n"
    text = serial(engine.boot(spec(script=script)))
    assert "0 / None\n" in text
    assert "'SSL_CERT_FILE'" in text
    assert "PYTHONPATH" not in text
    assert "startup-script exit status 0" in text


def test_the_exit_status_is_reported_and_the_vm_stays_up(engine: Engine) -> None:
    vm = engine.boot(spec(script="#!/bin/sh\nexit 7\n"))
    assert "startup-script exit status 7" in serial(vm)
    assert vm.alive
    assert inside(engine, "vm", "hostname").stdout == "vm\n"


def test_a_script_that_cannot_be_executed_is_said_to_be(engine: Engine) -> None:
    vm = engine.boot(spec(script="#!/no/such/interpreter\n"))
    assert "startup-script could not be executed" in serial(vm, "could not be executed")
    assert vm.alive


def test_without_a_script_there_is_nothing_to_run(engine: Engine) -> None:
    assert "No startup scripts to run." in serial(engine.boot(spec()), "No startup scripts")


def test_two_vms_at_once_share_nothing(engine: Engine) -> None:
    for name in ("one", "two"):
        engine.boot(spec(name, script=f"#!/bin/sh\necho {name} > /etc/mark\n"))
    for name in ("one", "two"):
        serial(engine.get(name))  # type: ignore[arg-type]
        assert inside(engine, name, "cat", "/etc/mark").stdout == f"{name}\n"
    engine.delete("one")
    assert inside(engine, "two", "true").returncode == 0


def test_a_guest_does_not_change_the_shared_root(engine: Engine, root: Path) -> None:
    engine.boot(spec())
    done = inside(
        engine,
        "vm",
        "sh",
        "-c",
        "echo changed > /etc/debian_version; rm -rf /usr/share; cat /etc/debian_version",
    )
    assert done.stdout == "changed\n"
    assert (root / "etc/debian_version").read_text() != "changed\n"
    assert (root / "usr/share").is_dir()


def test_software_installs_as_on_a_real_machine(engine: Engine) -> None:
    engine.boot(spec(internet=True))
    done = inside(
        engine,
        "vm",
        "sh",
        "-c",
        "apt-get -qq update && apt-get -qq install -y procps >/dev/null && ps -p 1 -o comm=",
    )
    assert done.stdout == "python3\n", done.stderr
    assert inside(engine, "vm", "sudo", "-n", "id", "-u").stdout == "0\n"


def test_names_are_checked_and_unique(engine: Engine) -> None:
    engine.boot(spec())
    with pytest.raises(Permanent, match="A VM named vm exists"):
        engine.boot(spec())
    with pytest.raises(Permanent, match="not valid"):
        spec("../escape")
    with pytest.raises(Permanent, match="no running VM named other"):
        engine.enter("other")


def test_delete_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    vm = engine.boot(
        spec(script="#!/bin/sh\nmkdir -m 0 /locked; touch /locked; sleep 1000 &\n", internet=True)
    )
    serial(vm)
    listed = json.loads((vm.directory / record.RECORD).read_text())
    threads = _threads()
    engine.delete("vm")
    assert not vm.directory.exists()
    assert all(record.start_time(pid) is None for pid, _ in listed["processes"])
    assert not any(Path(group).exists() for group in listed["cgroups"])
    assert not _mounts(tmp_path)
    assert _threads() < threads
    engine.delete("vm")  # again: nothing happens


def test_a_vm_whose_first_process_ends_is_not_alive(engine: Engine) -> None:
    vm = engine.boot(spec())
    os.kill(vm.pid, signal.SIGKILL)
    _until(lambda: not vm.alive)
    with pytest.raises(Permanent, match="no running VM"):
        engine.enter("vm")
    engine.delete("vm")
    assert not vm.directory.exists()


def test_the_number_of_processes_is_limited(engine: Engine) -> None:
    engine.boot(spec())
    bomb = """if True:
        import os
        count = 0
        try:
            while count < 2000:
                if os.fork() == 0:
                    os.read(os.pipe()[0], 1)
                count += 1
        except OSError:
            print(count)
        os.kill(0, 9)
    """
    done = inside(engine, "vm", "setsid", "-w", "python3", "-uc", bomb)
    assert 0 < int(done.stdout) < 520
    assert engine.get("vm").alive  # type: ignore[union-attr]


def test_memory_is_limited(engine: Engine) -> None:
    engine.boot(spec())  # 512 MiB
    done = inside(engine, "vm", "python3", "-c", "held = bytearray(2**30); print('held')")
    assert "held" not in done.stdout
    assert done.returncode != 0
    assert engine.get("vm").alive  # type: ignore[union-attr]


def test_a_full_disk_ends_the_outer_vm_first_and_lets_none_boot(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer, inner = engine.boot(spec("outer", internet=True)), engine.boot(spec("inner"))
    left = [disk.RESERVE - 1]
    monkeypatch.setattr(disk, "free", lambda _: left[0])
    _until(lambda: not outer.alive)
    left[0] = disk.RESERVE
    assert "[the platform ended this VM: the host's disk has less than 2048 MB left]" in serial(
        outer, "ended this VM"
    )
    time.sleep(0.6)
    assert inner.alive
    left[0] = disk.RESERVE - 1
    with pytest.raises(Permanent, match="free some space"):
        engine.boot(spec("another"))


def test_groups_of_engines_that_are_gone_are_pruned() -> None:
    gone, ours = limits.create("gone", Limits()), limits.create("ours", Limits())
    assert len(gone.directories) == len(ours.directories) > 0
    renamed = [path.rename(path.with_name("package-dmz-99999999-gone")) for path in gone.directories]
    limits.prune()
    assert not any(path.exists() for path in renamed)
    assert all(path.exists() for path in ours.directories)
    ours.remove()


def test_the_serial_log_is_limited(root: Path, tmp_path: Path) -> None:
    engine = Engine(Platform(root, tmp_path / "state", KEY))
    wordy = spec(script="#!/bin/sh\nhead -c 40000000 /dev/zero\ntouch /done\n")
    vm = engine.boot(VmSpec(wordy.name, wordy.network, wordy.identity, wordy.place, wordy.attributes))
    _until(lambda: inside(engine, "vm", "test", "-e", "/done").returncode == 0)
    assert (vm.directory / "serial.log").stat().st_size < 33 * 2**20
    assert b"it has reached its limit" in (vm.directory / "serial.log").read_bytes()[-100:]
    engine.close()


def test_a_terminal_is_passed_through_one_of_its_own(engine: Engine) -> None:
    engine.boot(spec())
    command = shlex.join(engine.enter("vm", ["sh", "-c", "test -t 0 && hostname"]))
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"], capture_output=True, text=True, timeout=20
    )
    assert done.stdout == "vm\n"


def test_two_engines_do_not_share_a_state_directory(engine: Engine, root: Path, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="Another platform already uses"):
        Engine(Platform(root, tmp_path / "state", KEY))


KILLED = """
import sys, pathlib, threading
from tests.emulators.vm.conftest import KEY, spec
from shared.emulators.vm.engine import Engine
from shared.emulators.vm.spec import Platform
engine = Engine(Platform(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), KEY))
# From a thread that ends, as a request handler does: the VM must not end with it.
booted = threading.Thread(target=lambda: [engine.boot(spec("out", internet=True)), engine.boot(spec("in"))])
booted.start(); booted.join()
print("up", flush=True)
sys.stdin.read()
"""


def test_sigkill_leaves_no_process_and_no_mount_and_the_next_start_sweeps(root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [sys.executable, "-c", KILLED, str(root), str(state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout
        assert killed.stdout.readline() == "up\n"
        time.sleep(0.3)
        listed = [json.loads((state / "vms" / name / record.RECORD).read_text()) for name in ("out", "in")]
        pids = [pid for entry in listed for pid, _ in entry["processes"]] + _children_of(killed.pid)
        assert len(set(pids)) >= 5  # two keepers, two guests, one way out
        assert all(record.start_time(pid) for pid in pids)
        killed.kill()
    _until(lambda: not any(record.start_time(pid) for pid in pids), 3)
    assert not _mounts(tmp_path)
    assert (state / "vms/in/upper").is_dir()
    engine = Engine(Platform(root, state, KEY))
    assert engine.swept == ["in", "out"]
    assert not list((state / "vms").iterdir())
    assert not any(Path(group).exists() for entry in listed for group in entry["cgroups"])
    engine.close()


def test_the_sweep_ends_a_recorded_process_but_not_its_namesake(tmp_path: Path) -> None:
    for name in ("left", "other"):
        (tmp_path / "vms" / name).mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as left, subprocess.Popen(["sleep", "60"]) as other:
        for name, process, shift in (("left", left, 0), ("other", other, 1)):
            entry = [process.pid, (record.start_time(process.pid) or 0) - shift]
            content = {"processes": [entry], "cgroups": ["/etc"]}
            (tmp_path / "vms" / name / record.RECORD).write_text(json.dumps(content))
        assert record.sweep(tmp_path) == ["left", "other"]
        assert left.wait(5) == -signal.SIGKILL
        assert other.poll() is None
        other.kill()


def test_the_sweep_follows_no_link_of_the_guest(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    directory = tmp_path / "vms" / "vm"
    record.make(directory)
    (directory / "upper" / "link").symlink_to(kept)
    (directory / "upper" / "dir").mkdir()
    for path in (directory / "upper" / "dir", directory / "upper" / "link"):
        os.chown(path, idmap.BASE, idmap.BASE, follow_symlinks=False)
    record.sweep(tmp_path)
    assert (kept / "file").exists()
    assert not directory.exists()


def _mounts(below: Path) -> list[str]:
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(below) in line]


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def _children_of(pid: int) -> list[int]:
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        children += map(int, (task / "children").read_text().split())
    return children


def _until(condition: object, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)
