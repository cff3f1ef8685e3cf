"""How launches fail and workloads end: what stands on the serial port, and what becomes of the VM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.confidential_space.conftest import (
    FAMILY,
    REFERENCE,
    ZONE_PATH,
    Make,
    claims_of,
    request,
    said,
)

SERIAL = {"tee-container-log-redirect": "serial"}
DEBUG = f"{FAMILY}-debug"
LABEL = "tee.launch_policy."
OFF = "launcher exiting: shutting down the VM"
HOLD = "launcher exiting: VM remains running"


@pytest.mark.parametrize(
    ("items", "labels", "words"),
    [
        ({"tee-env-LD_PRELOAD": "/x"}, {}, "env var {LD_PRELOAD /x} is not allowed to be overridden on this image"),
        ({"tee-cmd": '["-c", "evil"]'}, {}, "CMD is not allowed to be overridden on this image"),
        (SERIAL, {f"{LABEL}log_redirect": "never"}, "logging redirection not allowed by image"),
        (SERIAL, {f"{LABEL}log_redirect": "debugonly"}, "only allowed on debug environment by image"),
        (
            {},
            {f"{LABEL}monitoring_memory_allow": "always", f"{LABEL}hardened_monitoring": "memoryonly"},
            "failed to parse image Launch Policy: use either",
        ),
        ({"tee-restart-policy": "Sometimes"}, {}, "failed to get launchspec"),
        ({"tee-image-reference": "evil.example/x:v"}, {}, "cannot pull the image"),
        ({"tee-image-reference": "no reference"}, {}, "cannot pull the image"),
        ({"tee-image-reference": f"{REFERENCE.partition(':')[0]}@sha256:{'0' * 64}"}, {}, "not found"),
    ],
)  # fmt: skip
def test_a_launch_that_is_refused_never_runs_the_workload(
    space: Make, items: dict[str, str], labels: dict[str, str], words: str
) -> None:
    running = space("say('ran')\n", labels)
    running.insert(request(**items))
    seen: set[str] = set()
    while "launcher exiting" not in running.console(""):
        seen.add(running.instance()["status"])
    console = running.console()
    assert words in console
    assert "SAID" not in console
    assert OFF in console
    running.status("TERMINATED")
    assert seen <= {"STAGING", "TERMINATED"}


def test_overrides_that_the_image_allows_run_and_stand_in_the_token(space: Make) -> None:
    running = space(
        "say([sys.argv[1:], os.environ['A'], os.environ['GREETING']])\nsay(tee('GET', '/v1/token')[1])\n",
        {f"{LABEL}allow_env_override": "A,GREETING", f"{LABEL}allow_cmd_override": "true"},
        {"Cmd": ["given"]},
    )
    items = {"tee-env-A": "1", "tee-env-GREETING": "hallo", "tee-cmd": '["other", "words"]'}
    running.insert(request(**SERIAL, **items))
    seen, token = said(running.console())
    assert seen == [["other", "words"], "1", "hallo"]
    container = claims_of(token)["submods"]["container"]
    assert container["env_override"] == {"A": "1", "GREETING": "hallo"}
    assert container["cmd_override"] == ["other", "words"]
    assert container["args"][-2:] == ["other", "words"]
    assert container["env"]["GREETING"] == "hallo"
    assert "hallo" not in running.console().replace('"hallo"', "")  # the launcher's own lines redact it


def test_output_that_is_not_redirected_goes_nowhere(space: Make) -> None:
    running = space("say('secret')\n")
    running.insert(request())
    assert "secret" not in running.console()


def test_a_debug_image_holds_and_its_tokens_say_debug(space: Make) -> None:
    running = space("say(tee('GET', '/v1/token')[1])\n", {f"{LABEL}log_redirect": "debugonly"})
    running.insert(request(family=DEBUG, **SERIAL))
    (token,) = said(running.console(HOLD))
    claims = claims_of(token)
    assert claims["dbgstat"] == "enabled"
    assert "support_attributes" not in claims["submods"]["confidential_space"]
    assert running.instance()["status"] == "RUNNING"


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Never", 1, False), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Always", 0, True)],
)
def test_the_restart_policy(space: Make, policy: str, code: int, again: bool) -> None:
    running = space(f"say('run')\nsys.exit({code})\n")
    running.insert(request(**SERIAL, **{"tee-restart-policy": policy}))
    if again:
        console = running.console("SAID", times=2)
        assert "rebooting VM" in console
        assert OFF not in console
    else:
        assert running.console(OFF).count("SAID") == 1
        running.status("TERMINATED")
    ended = "non-zero" if code else "returned 0"
    assert f"workload task ended and {'returned ' if code else ''}{ended}" in running.console()


@pytest.mark.parametrize("entrypoint", [["/no/such/program"], ["nothing"], ["/app"]])
def test_a_program_that_cannot_be_started(space: Make, entrypoint: list[str]) -> None:
    running = space("", config_={"Entrypoint": entrypoint})
    running.insert(request(**SERIAL))
    assert "failed with retryable error: failed to create a container" in running.console(OFF)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"Entrypoint": None, "Cmd": None}, "no arguments specified"),
        ({"Entrypoint": "x"}, "list of strings"),
        ({"User": "nobody-there"}, "no users found"),
        ({"User": "0:nobody-there"}, "no groups found"),
        ({"User": "70000"}, "beyond the ids"),
        ({"ExposedPorts": {"http": {}}}, "failed to parse port and protocol"),
        ({"ExposedPorts": {"99999/tcp": {}}}, "invalid port number"),
    ],
)
def test_configurations_that_make_no_container(space: Make, config: dict[str, Any], words: str) -> None:
    running = space("say('ran')\n", config_=config)
    running.insert(request())
    assert words in running.console(OFF)


def test_a_command_in_place_of_a_missing_entry_point_is_refused(space: Make) -> None:
    running = space("", {f"{LABEL}allow_cmd_override": "true"}, {"Entrypoint": None, "Cmd": ["/x"]})
    running.insert(request(**{"tee-cmd": '["/usr/bin/python3"]'}))
    assert "maybe the Entrypoint is set to empty in the image?" in running.console(OFF)


@pytest.mark.parametrize("what", ["config", "layer", "manifest"])
def test_one_byte_of_an_image_changed_and_it_does_not_run(space: Make, what: str) -> None:
    running = space("say('ran')\n")
    blobs = running.directory / "image" / "blobs" / "sha256"
    index = json.loads((running.directory / "image" / "index.json").read_text())
    digest = index["manifests"][0]["digest"]
    manifest = json.loads((blobs / digest[7:]).read_text())
    changed = {"config": manifest["config"], "layer": manifest["layers"][-1], "manifest": {"digest": digest}}
    path: Path = blobs / changed[what]["digest"][7:]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    running.insert(request(**SERIAL))
    console = running.console(OFF)
    assert "is damaged" in console
    assert "SAID" not in console


def test_mounts_and_shared_memory(space: Make) -> None:
    running = space(
        "say([line.split()[:4] for line in open('/proc/mounts') if line.split()[1] in ('/data/x', '/dev/shm')])\n",
        {f"{LABEL}allow_mount_destinations": "/data"},
    )
    mount = "type=tmpfs,source=tmpfs,destination=/data/x,size=65536"
    running.insert(request(**SERIAL, **{"tee-mount": mount, "tee-dev-shm-size-kb": "64"}))
    ((shm, data),) = said(running.console(OFF))
    assert (shm[1], "size=64k" in shm[3]) == ("/dev/shm", True)
    assert (data[1], "size=64k" in data[3]) == ("/data/x", True)
    assert {"nosuid", "nodev", "noexec"} <= set(data[3].split(","))


def test_deleting_asks_the_workload_to_end_first(space: Make) -> None:
    running = space(
        """
import signal, threading
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: (say("asked to end"), os._exit(0)))
say("up")
signal.pause()
"""
    )
    running.insert(request(**SERIAL))
    running.console("SAID")
    machine = next(iter(running.platform._compute._instances.values())).running
    operation = running.api.delete(f"{ZONE_PATH}/instances/sample").json()
    running.api.post(f"{ZONE_PATH}/operations/{operation['name']}/wait", timeout=60)
    assert "asked to end" in machine.console.read()[0].decode()
