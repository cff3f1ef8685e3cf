"""Reports of a hostile VM: forged, for others, broken, exploding; none counts, and the true one still does."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Callable

import pytest

from shared.guest.config import Config
from shared.machines import unpack, vm_name
from tests.stages import guests
from tests.stages.failing import silent
from tests.stages.hostile import failed, raw, told
from tests.stages.world import WORKLOAD, World
from tests.support import claims
from tests.support.claims import environment, python

Forge = Callable[[World, Config], guests.Payload]


# --- forged reports ---


def token(text: str) -> Forge:
    return lambda world, config: world.install(config) | {"report_token": text}


FORGED: dict[str, Forge] = {
    "wrong secret": token("0" * 48),
    "secret that is no ASCII": token("ü" * 48),
    "no secret": token(""),
    "failure": lambda _world, config: guests.outer_failed(config, "") | {"report_token": "0" * 48},
    "unknown run": lambda world, config: world.install(config) | {"run_id": "run-000000000000"},
    "no run": lambda world, config: world.install(config) | {"run_id": "../../etc"},
    "unknown field": lambda world, config: world.install(config) | {"admin": True},
    "endless seconds": lambda world, config: (
        world.install(config) | {"seconds": {f"{n}": 1.0 for n in range(10**5)}}
    ),
    "endless tail": lambda world, config: world.install(config) | {"tail": "x" * 10**6},
    "too large": lambda world, config: world.install(config) | {"claim": "A" * 10_000_001},
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_report_is_kept_and_the_true_one_still_counts(world: World, forged: str) -> None:
    world.outer = silent
    run_id = world.request()
    (config,) = world.configs.values()
    world.report(config, FORGED[forged](world, config))
    world.quiet()
    assert len(world.bus.dead) == 1
    assert world.raised == []
    assert world.run(run_id)["state"] == "running"
    assert [vm.name for vm in world.vms.all()] == [vm_name("outer", run_id)]
    world.report(config, world.install(config))
    world.quiet()
    assert world.run(run_id)["state"] == "completed"


@pytest.mark.parametrize("how", ["forged", "of its own replay id", "malformed"])
def test_a_vm_without_a_way_out_leaves_nothing_in_the_dead_letters(world: World, how: str) -> None:
    """It may publish to its topic for ever; what is not its one report is refused, told, and not kept."""
    run_id = world.request(WORKLOAD.model_copy(update={"after": "keep"}))
    config = world.configs[vm_name("inner", run_id)]
    secret = "c2VjcmV0-of-the-sealed-network"
    report = guests.common(config, tail=secret) | {"installed": None, "smoke": None, "egress": "denied"}
    topic, body, names = guests.message(config, report | {"egress_probes": []})
    names |= {"ce-source": secret, "traceparent": secret, "x-more": secret}
    if how == "forged":
        body = body.replace(config.report_token.encode(), b"0" * 48)
    elif how == "malformed":
        body = body[:-1]
    else:
        names["replay-id"] = secret
    world.bus.send(topic, body, names)
    world.quiet()
    ((kept, attributes, reason),) = world.bus.dead
    assert {"hidden", "bytes"} == json.loads(kept).keys()
    assert secret not in f"{kept!r} {attributes} {reason}"
    assert attributes["topic"] == topic
    assert reason.endswith(".")
    assert world.run(run_id)["state"] == "completed"


def test_a_forged_report_of_the_largest_size_can_still_be_kept(world: World) -> None:
    """By its hash and size."""
    world.outer = silent
    run_id = world.request()
    (config,) = world.configs.values()
    forged = guests.common(config) | {"claim": "A" * 9_999_000, "report_token": "0" * 48}
    world.report(config, forged)
    world.quiet()
    ((body, attributes, reason),) = world.bus.dead
    assert json.loads(body)["bytes"] > 9_999_000
    assert len(body) + len(reason) + sum(map(len, (*attributes, *attributes.values()))) < 2000
    assert world.run(run_id)["state"] == "running"


def test_a_vm_cannot_report_for_another_run(world: World) -> None:
    world.outer = silent
    mine, other = world.request(), world.request()
    config = world.configs[vm_name("outer", mine)]
    for payload in (world.install(config), guests.outer_failed(config, "")):
        world.report(config, payload | {"run_id": other})
    world.quiet()
    assert [reason for _, _, reason in world.bus.dead] == [
        f"A report about {other} does not carry the secret of its outer VM: it is from elsewhere."
    ]
    assert world.run(other)["state"] == "running"


def test_an_outer_vm_cannot_report_as_the_inner_one(world: World) -> None:
    world.inner = silent
    run_id = world.request()
    outer, inner = (world.configs[vm_name(kind, run_id)] for kind in ("outer", "inner"))
    payload = world.install_inner(inner)
    world.report(inner, payload | {"report_token": outer.report_token})
    world.quiet()
    assert world.run(run_id)["state"] == "running"
    world.report(inner, payload)
    world.quiet()
    assert world.run(run_id)["state"] == "completed"


def test_a_vm_tells_one_tale(world: World) -> None:
    """The same secret, other contents, other replay ids: the first report counts, the others end nothing."""
    world.outer = silent
    world.inner = silent
    run_id = world.request()
    (config,) = world.configs.values()
    world.report(config, world.install(config))
    world.quiet()
    manifest = world.run(run_id)["manifest"]
    second = guests.outer(config, world.claim(generic=()))
    for replay in ("", "x", "y"):
        world.report(config, second, **({"replay-id": replay} if replay else {}))
        world.report(config, guests.outer_failed(config, ""), **({"replay-id": replay} if replay else {}))
    world.quiet()
    assert world.run(run_id)["manifest"] == manifest
    assert world.run(run_id)["state"] == "running"
    assert len(world.events("manifest-published")) == 1
    assert vm_name("inner", run_id) in [vm.name for vm in world.vms.all()]


def test_a_vm_cannot_say_another_event_into_its_topic(world: World) -> None:
    world.outer = silent
    run_id = world.request()
    (config,) = world.configs.values()
    for kind in ("run-requested", "run-failed", "manifest-published"):
        world.report(config, world.install(config), **{"ce-type": f"package-dmz.{kind}.v1"})
    world.quiet()
    assert len(world.bus.dead) == 3
    assert world.run(run_id)["state"] == "running"


# --- what is in a report ---


def test_a_manifest_of_another_workload(world: World) -> None:
    world.outer = lambda config: guests.outer(config, world.claim(workload="other"))
    assert "was asked to install small and reports other" in failed(world, world.request())


NAMES = {
    "path traversal": "../../../etc/passwd",
    "absolute path": "/etc/passwd",
    "look-alike": "\u0430pp",  # the first letter is Cyrillic
    "full width": "\uff41pp",
    "right to left": "app\u202egnp",
    "zero width": "ap\u200bp",
    "control character": "app\x1b[31m",
    "NUL": "app\x00",
    "line feed": "app\nevil",
    "option": "--index-url=https://evil.test",
    "URL": "app @ https://evil.test/app.whl",
    "shell": "app;reboot",
    "empty": "",
    "10 MB": "a" * 10_000_000,
    "half a surrogate": "app\ud800",
    "deep": "a/" * 5000,
}


@pytest.mark.parametrize("what", NAMES)
@pytest.mark.parametrize("where", ["debian", "python", "version", "path", "url"])
def test_a_name_that_is_none(world: World, what: str, where: str) -> None:
    name, text = NAMES[what], raw(world)
    match where:
        case "debian":
            text["debian"][0]["name"] = name
        case "python":
            text["environments"][0]["packages"][0]["name"] = name
        case "version":
            text["environments"][0]["packages"][0]["version"] = name
        case "path":
            text["environments"][0]["path"] = name if name != "/etc/passwd" else "/etc/../passwd"
        case _:
            text["generic"][0]["url"] = name
    reason = told(world, json.dumps(text).encode())
    if where in ("path", "url"):
        assert "The outer VM's manifest is not valid" in reason
    else:
        assert "is held: the machine names it" in reason
        assert reason.isascii()
    assert world.registry.uploads == []


def _bomb() -> bytes:
    return gzip.compress(b" " * 300_000_000, 1)


BROKEN: dict[str, tuple[Callable[[bytes], str], str]] = {
    "bomb": (lambda _: base64.b64encode(_bomb()).decode(), "unpacks to more than 16 MiB"),
    "truncated": (lambda good: base64.b64encode(good[:-20]).decode(), "ends early"),
    "one byte less": (lambda good: base64.b64encode(good[:-1]).decode(), "ends early"),
    "changed": (
        lambda good: base64.b64encode(good[:60] + b"\xff\xff" + good[62:]).decode(),
        "is not base64 of gzip",
    ),
    "two manifests": (lambda good: base64.b64encode(good + good).decode(), "something follows it"),
    "garbage after": (lambda good: base64.b64encode(good + b"x").decode(), "something follows it"),
    "no gzip": (lambda _: base64.b64encode(b"{}").decode(), "is not base64 of gzip"),
    "no base64": (lambda _: "{}", "is not base64 of gzip"),
    "no ASCII": (lambda _: "äöü", "is not base64 of gzip"),
    "empty": (lambda _: "", "ends early"),
    "no JSON": (lambda _: base64.b64encode(gzip.compress(b"\x00\xff")).decode(), "is not valid"),
    "another JSON": (lambda _: base64.b64encode(gzip.compress(b"[]")).decode(), "is not valid"),
    "deep JSON": (lambda _: base64.b64encode(gzip.compress(b"[" * 10**6)).decode(), "is not valid"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_report_that_is_broken_or_explodes(world: World, how: str) -> None:
    spoil, words = BROKEN[how]
    good = gzip.compress(json.dumps(raw(world)).encode(), mtime=0)
    world.outer = lambda config: guests.common(config) | {"claim": spoil(good)}
    began = time.monotonic()
    assert words in failed(world, world.request())
    assert time.monotonic() - began < 60


def test_a_manifest_with_a_key_twice(world: World) -> None:
    text = json.dumps(raw(world)).replace('"workload": "small"', '"workload": "other", "workload": "small"')
    assert "twice" in told(world, text.encode())


def test_a_large_manifest_is_still_read() -> None:
    packages = [python(f"package-{n}", "1.0") for n in range(10_000)]
    manifest = claims.manifest((), environment(*packages))
    assert unpack(guests.pack(manifest), "It") == manifest


@pytest.mark.parametrize("first", [True, False])
def test_a_debian_package_that_stands_there_twice(world: World, first: bool) -> None:
    """Once with its true source, once with one that no advisory knows."""
    lie = world.debians[1].model_copy(update={"source_name": "harmless"})
    world.debians = (lie, *world.debians) if first else (*world.debians, lie)
    assert "names openssl:amd64 2 times" in failed(world, world.request())


def test_a_manifest_of_nothing(world: World) -> None:
    world.debians = ()
    assert "names no Debian package at all" in failed(world, world.request())
