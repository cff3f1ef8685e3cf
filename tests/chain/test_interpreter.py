"""A workload that brings its own Python, on the real emulators: another one than the VMs' image has."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

from shared.model.value import sha256
from tests.chain.system import System, wanted
from tests.chain.world import HOST, World
from tests.support import interpreters

PYTHON = interpreters.made()
SITE = f"/opt/dmz/python/lib/python{PYTHON.minor}/site-packages"
URL = f"https://{HOST}/generic/cpython-{PYTHON.version}-install_only.tar.gz"
HOSTILE = f"https://{HOST}/generic/hostile.tar"
INSTALL = f"""\
test "$(python3 -V)" = "Python {PYTHON.version}"
test "$(python{PYTHON.minor} -V)" = "Python {PYTHON.version}"
python3 -m venv --without-pip /opt/work
python3 -m pip --python /opt/work/bin/python install --progress-bar off depot
python3 -m pip install --progress-bar off smallbuild
"""
SMOKE = f"""\
/opt/work/bin/python -c 'import depot, platform; print("rate", depot.rate, "on", platform.python_version())'
python3 -c 'import smallbuild; assert smallbuild.__file__.startswith("/opt/dmz/python/")'
test "$(/usr/bin/python3 -V)" != "Python {PYTHON.version}"
"""


def declared(**changes: str) -> dict[str, str]:
    return {"version": PYTHON.minor, "url": URL, "sha256": PYTHON.sha256} | changes


def hostile() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        interpreters.link(tar, "python/lib", "/usr/lib")
        interpreters.file(tar, "python/lib/evil.py", b"")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def ran(system: System, world: World, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The report of `./dmz run`."""
    world.offer(URL, PYTHON.content)
    done, report = system.run(
        tmp_path_factory.mktemp("workload"), install=INSTALL, smoke=SMOKE, interpreter=declared()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return report


def test_it_runs_inside(ran: Any) -> None:
    assert ran["state"] == "completed"
    inner = ran["inner"]
    assert (inner["missing"], inner["unexpected"], inner["egress"]) == ([], [], "denied")
    assert inner["smoke"]["tail"] == f"rate 11 on {PYTHON.version}"


def test_the_lock_holds_what_was_put_on_top_and_not_what_came_along(ran: Any, system: System) -> None:
    run = system.get("runs", ran["run_id"])
    lock = system.lock(run)
    assert [(file.url, file.sha256) for file in lock.generic] == [(URL, PYTHON.sha256)]
    found = {
        each.path: (each.python, each.virtual, [file.name for file in each.packages])
        for each in lock.environments
    }
    assert found == {
        "/opt/work": (PYTHON.version, True, ["courier", "depot"]),
        SITE: (PYTHON.version, False, ["smallbuild"]),
    }
    assert system.stored() == wanted(lock, run)


def test_its_verdict_names_it(ran: Any, system: System) -> None:
    documents = dict(system.connection.documents.find("verdicts", "run_id", ran["run_id"]))
    reasons = {fields["purl"]: (fields["decision"], fields["reason"]) for fields in documents.values()}
    (decision, reason) = reasons[f"pkg:generic/{URL.rsplit('/', 1)[1]}@sha256%3A{PYTHON.sha256[7:]}"]
    assert decision == "allow"
    assert f"it is Python {PYTHON.version}, and whether that has known flaws is undecided" in reason
    assert reasons[f"pkg:pypi/pip@{PYTHON.pip}"][0] == "allow"


REFUSED = {
    "other bytes": (declared(sha256=sha256(b"")), f"and the workload pins {sha256(b'')}: not used"),
    "another version": (declared(version="3.9"), "and the workload declares 3.9: correct one of them"),
    "a hostile archive": (
        declared(url=HOSTILE, sha256=sha256(hostile())),
        "to '/usr/lib', which leads out of it: it is not unpacked",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_what_was_declared_ends_the_run(system: System, world: World, name: str) -> None:
    world.offer(URL, PYTHON.content)
    world.offer(HOSTILE, hostile())
    before = system.stored()
    interpreter, words = REFUSED[name]
    run_id = system.request(f"refused-{name.replace(' ', '-')}", interpreter=interpreter, install=INSTALL)
    run = system.ended(run_id)
    assert run["state"] == "failed"
    assert words in run["reason"]
    assert system.stored() == before
