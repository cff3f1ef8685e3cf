"""A hostile outer machine: what it says is a claim, and nothing that it says gets a byte in that is not proved."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from shared.guest.config import Config
from shared.machines import unpack, vm_name
from shared.model.manifest import ClaimedManifest
from shared.model.value import sha256
from tests.stages import guests
from tests.stages.world import OWN, WORKLOAD, World
from tests.support import built, claims
from tests.support.claims import environment, python

Forge = Callable[[World, Config], guests.Payload]


def silent(_config: Config) -> None:
    """A VM that keeps its report back, so that the test can send it."""


def failed(world: World, run_id: str) -> str:
    run = world.run(run_id)
    assert run["state"] == "failed", run
    assert len(world.events("run-failed")) == 1
    assert world.vms.all() == []
    assert run["reason"].isprintable()
    assert len(run["reason"]) < 2500
    return str(run["reason"])


def raw(world: World) -> dict[str, Any]:
    """The manifest as JSON, for a VM that does not care for our types."""
    return dict(json.loads(world.claim().model_dump_json()))


def told(world: World, text: bytes) -> str:
    """The reason with which a run fails whose outer VM sends `text` as its manifest."""
    packed = base64.b64encode(gzip.compress(text)).decode()
    world.outer = lambda config: guests.common(config) | {"claim": packed}
    return failed(world, world.request())


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


# --- lies about packages ---


def with_python(world: World, *packages: Any, keep: bool = True) -> None:
    """The claim of the outer VM with other packages in its environment."""
    names = {each.name for each in packages}
    kept = [each for each in world.environments[0].packages if keep and each.name not in names]
    world.environments = (environment(*kept, *packages),)


def test_a_package_that_was_hidden_is_found_inside(world: World) -> None:
    """The outer VM conceals a package; the workload's own script brings it in the inner VM all the same."""
    stray = python("stray", "1.0", world.market.wheel("stray", "1.0"))
    world.inner = lambda config: guests.inner(config, _plus(world.inside(config), stray))
    assert re.search(
        r"holds pip /opt/w stray 1\.0 \S+, which nobody admitted", failed(world, world.request())
    )


def test_a_hidden_dependency_is_judged_like_every_other(world: World) -> None:
    with_python(world)
    kept = [each for each in world.environments[0].packages if each.name != "tool"]
    world.environments = (environment(*kept),)
    world.market.flaw("tool", "1.0")
    assert "tool 1.0, which would be needed, is refused" in failed(world, world.request())


@pytest.mark.parametrize("how", ["in the base image", "managed by dpkg"])
def test_a_refused_package_hidden_from_judgement(world: World, how: str) -> None:
    lib = next(each for each in world.environments[0].packages if each.name == "lib")
    others = [each for each in world.environments[0].packages if each.name not in ("lib", "app")]
    if how == "in the base image":
        world.environments = (environment(*others, lib.model_copy(update={"in_base": True})),)
        assert "pkg:pypi/lib@1.0 is refused" in failed(world, world.request())
    else:
        world.environments = (environment(*others), environment(lib, managed=True))
        world.inner = lambda config: guests.inner(config, _plus(world.inside(config), lib))
        assert "which nobody admitted" in failed(world, world.request())


def test_an_admitted_package_that_only_seems_to_be_in_the_base_image(world: World) -> None:
    # With nothing to replace no resolver adds it to the lock.
    del world.market.flaws["pypi", "lib", "1.0"]
    tool = next(each for each in world.environments[0].packages if each.name == "tool")
    with_python(world, tool.model_copy(update={"in_base": True}))
    assert "The inner VM lacks pip /opt/w tool 1.0" in failed(world, world.request())


def test_another_version_than_the_one_that_is_there(world: World) -> None:
    """The bytes of the refused lib 1.0 under the name of the admitted lib 1.1."""
    refused = next(each for each in world.environments[0].packages if each.name == "lib")
    with_python(world, refused.model_copy(update={"version": "1.1"}))
    assert "lib-1.1-py3-none-any.whl is not what the outer VM installed" in failed(world, world.request())
    assert "lib-1.1-py3-none-any.whl" not in world.registry.uploads


@pytest.mark.parametrize("spelled", ["0!1.0", "v1.0", "01.0", "1.00"])
def test_another_spelling_of_a_refused_version_is_refused_too(world: World, spelled: str) -> None:
    refused = next(each for each in world.environments[0].packages if each.name == "lib")
    with_python(world, python("lib", spelled, record=refused.record))
    run_id = world.request()
    assert world.run(run_id)["state"] == "completed"
    locked = {each.name: each.version for each in world.lock(run_id).environments[0].packages}
    assert locked["lib"] == "1.1"


def test_a_version_that_only_compares_as_equal_to_a_refused_one(world: World) -> None:
    """To PEP 440 1.0.0 is 1.0: the index would give lib-1.0, the verdict would be about something else."""
    refused = next(each for each in world.environments[0].packages if each.name == "lib")
    with_python(world, refused.model_copy(update={"version": "1.0.0"}))
    assert "lib 1.0.0 on the outer VM would be lib-1.0-py3-none-any.whl, which says 1.0" in failed(
        world, world.request()
    )
    assert "lib-1.0-py3-none-any.whl" not in world.registry.uploads


def test_a_replacement_that_is_not_the_wheels_files(world: World) -> None:
    """No VM had the replacement before: its RECORD is proved while the lock is made, and the inner VM is held to it."""

    def changed(config: Config) -> guests.Payload:
        found = world.inside(config).model_dump(mode="json")
        for each in found["environments"][0]["packages"]:
            if each["name"] == "lib":
                each["record"] = sha256(b"other files")
        return guests.inner(config, ClaimedManifest.check(found, "The inventory"))

    world.inner = changed
    assert "The inner VM lacks pip /opt/w lib 1.1 sha256:" in failed(world, world.request())


def test_a_version_that_the_index_does_not_have(world: World) -> None:
    with_python(world, python("tool", "6.6.6", built.wheel("tool", "6.6.6")))
    assert "none of that version" in failed(world, world.request())


def test_a_package_that_no_index_has(world: World) -> None:
    with_python(world, python("evil", "1.0", built.wheel("evil", "1.0")))
    assert "the index has no project of that name" in failed(world, world.request())


def test_a_package_that_it_never_had_gets_in_only_as_what_the_index_has(world: World) -> None:
    spare = world.market.wheel("spare", "1.0")
    with_python(world, python("spare", "1.0", spare))
    run_id = world.request()
    assert world.run(run_id)["state"] == "completed"
    assert "spare" in [each.name for each in world.lock(run_id).environments[0].packages]


@pytest.mark.parametrize("name", ["tool", "mine"])
def test_a_record_that_is_not_the_wheels(world: World, name: str) -> None:
    true = next(each for each in world.environments[0].packages if each.name == name)
    with_python(world, true.model_copy(update={"record": sha256(b"a lie")}))
    reason = failed(world, world.request())
    assert f"{name}-1.0-py3-none-any.whl is not what the outer VM installed" in reason
    assert f"{name}-1.0-py3-none-any.whl" not in world.registry.uploads


def test_a_package_that_was_changed_after_its_install(world: World) -> None:
    true = next(each for each in world.environments[0].packages if each.name == "tool")
    with_python(world, true.model_copy(update={"record": None}))
    assert "its files were changed" in failed(world, world.request())


def test_a_source_in_the_base_image_that_no_advisory_knows(world: World) -> None:
    """openssl is refused by its source; the VM names another one, and the inner VM's own dpkg says the truth."""
    world.market.flaw("glibc", "2.41-12", "debian")
    base, truth = list(world.debians), world.base
    base[0] = base[0].model_copy(update={"source_name": "harmless"})
    world.debians = tuple(base)
    config_seen: list[Config] = []

    def inside(config: Config) -> guests.Payload:
        config_seen.append(config)
        return guests.inner(config, guests.install(config, world.registry, truth, world.market))

    world.inner = inside
    reason = failed(world, world.request())
    assert "The inner VM lacks deb libc6 2.41-12 amd64 from harmless 2.41-12" in reason
    assert config_seen


def test_a_file_by_url_with_other_bytes_than_the_urls(world: World) -> None:
    lie = world.generic.model_copy(update={"sha256": sha256(b"other bytes")})
    world.outer = lambda config: guests.outer(config, world.claim(generic=(lie,)))
    assert "has the content" in failed(world, world.request())
    assert not any(name.startswith("generic:") for name in world.registry.uploads)


def test_an_archive_that_is_not_the_distributions(world: World) -> None:
    jq = world.debians[3]
    world.debians = (*world.debians[:3], jq.model_copy(update={"archive": sha256(b"evil")}), world.debians[4])
    assert "did not come from the distribution" in failed(world, world.request())


def test_bytes_that_the_index_changes_under_way_do_not_get_in(world: World) -> None:
    url = next(url for url in world.market.contents if "tool-1.0" in url)
    world.market.contents[url] = built.wheel("tool", "1.0", text="evil").content
    assert "has the content" in failed(world, world.request())
    assert "tool-1.0-py3-none-any.whl" not in world.registry.uploads


def test_a_repository_that_holds_other_bytes_under_the_name(world: World) -> None:
    path = world.tmp / "other"
    path.write_bytes(b"planted")
    archive = world.market.pool["jq", "amd64"][0]
    world.registry._upload("trixie", archive.url.rsplit("/", 1)[-1], path)
    assert "already holds jq_1.7-1_amd64.deb with other bytes" in failed(world, world.request())


def test_an_own_wheel_that_was_changed_in_the_staging_repository(world: World) -> None:
    place = (world.settings.staging_repository, f"wheels:{OWN.sha256[7:]}:{OWN.filename}")
    world.registry._files[place] = built.wheel("mine", "1.0", ("lib",), text="evil").content
    reason = failed(world, world.request())
    assert "The staged wheel mine-1.0-py3-none-any.whl has" in reason
    assert "as the workload says" in reason


def test_verdicts_about_another_manifest(world: World) -> None:
    world.bus.subscribe("sync", lambda _: True)
    run_id = world.request()
    (written,) = world.events("verdicts-written")
    other = world.blobs.put(world.claim(generic=()).canonical())
    world.bus.subscribe("sync", functools.partial(world._receive, world.desks["sync"]))
    world.bus.send("verdicts-written", written.model_copy(update={"manifest": other}).canonical(), {})
    world.quiet()
    assert "The verdicts are about the manifest" in failed(world, run_id)


def test_unmet_dependencies_stop_the_run_before_a_vm_is_paid_for(world: World) -> None:
    world.debians = tuple(each for each in world.debians if each.name != "libjq1")
    run_id = world.request()
    assert "do not fit together: jq" in failed(world, run_id)
    assert vm_name("inner", run_id) not in world.vms.created


def _plus(found: ClaimedManifest, package: Any) -> ClaimedManifest:
    """The inner inventory with one more package in the workload's environment."""
    there = found.environments[0]
    more = there.model_copy(
        update={"packages": (*there.packages, package.model_copy(update={"in_base": False}))}
    )
    return found.model_copy(update={"environments": (more,)})
