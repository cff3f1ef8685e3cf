"""Hostile images: digests in disguise, references that do not hold, environments and arguments not the image's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from shared.model.reference import ReferenceValue
from shared.model.value import sha256
from tests.appraisal import forge
from tests.appraisal.forge import CONFIG, CONFIG_DIGEST, INDEX, MANIFEST, NOW, Inputs
from tests.appraisal.hostile import CONTAINER, MISSING, Hostile, claim, put

OTHER = sha256(b"another image")
PINNED = {
    "image_digest": MANIFEST,
    "image_id": CONFIG_DIGEST,
    "env": {"PATH": forge.PATH, "LANG": "C.UTF-8"},
    "args": ["java", "-jar", "aggregator_application.jar"],
}


def disguises(digest: str) -> list[Any]:
    digits = digest.removeprefix("sha256:")
    return [
        *(
            digest.upper(),
            "sha256:" + digits.upper(),
            "SHA256:" + digits,
            digits,
            digest + "\n",
            "\n" + digest,
        ),
        *(
            digest + " ",
            digest[:-1],
            digest + "0",
            "sha512:" + digits,
            "sha256-" + digits,
            "sha256:" + "0" * 64,
        ),
        *("aggregator:latest", "latest", f"us-docker.pkg.dev/p/r/aggregator@{digest}", f"{digest},{OTHER}"),
        *("sha256:", "", "sha256:" + digits.replace("a", "а"), "sha256:" + digits.replace("1", "１")),
        *(digest + "\x00", OTHER, None, True, 0, [digest], {"sha256": digits}, MISSING),
    ]


def referred(
    name: str,
    check: str,
    *changes: dict[str, Any],
    also: tuple[str, ...] = (),
    content: Callable[[dict[str, Any]], None] | None = None,
    twin: Callable[[], Inputs] = forge.good,
) -> Hostile:
    """Appraised with reference values that differ from the good one by each of `changes`."""

    def bad() -> Inputs:
        references = tuple(forge.reference(**each) for each in changes)
        return forge.good(forge.oidc(forge.claims(content)), references=references)

    return Hostile(f"reference: {name}", check, bad, twin, also)


def lying() -> Inputs:
    """A reference value whose configuration is not the one that its digest names, past its own validation."""
    config = json.dumps({"config": {"Entrypoint": ["sh"], "Cmd": [], "Env": []}})
    value = ReferenceValue.model_construct(**{**dict(forge.reference()), "config_json": config})
    content = forge.claims(lambda found: put(found, f"{CONTAINER}/args", ["sh"]))
    return forge.good(forge.oidc(content), references=(value,))


def lying_quietly() -> Inputs:
    """The same with a configuration that says what the token says: only its digest gives it away."""
    value = ReferenceValue.model_construct(**{**dict(forge.reference()), "config_json": CONFIG + " "})
    return forge.good(references=(value,))


def broken() -> Inputs:
    value = ReferenceValue.model_construct(**{**dict(forge.reference()), "config_json": "[]"})
    return forge.good(references=(value,))


def indexed(digest: str) -> Inputs:
    content = forge.claims(lambda found: put(found, f"{CONTAINER}/image_digest", digest))
    return forge.good(forge.oidc(content), references=(forge.reference(index=INDEX),))


def pinned(path: str = "", value: Any = None, **changes: Any) -> Inputs:
    """Under a policy that pins digests itself, without reference values."""
    policy = forge.policy_with(reference={"rule": "digests", "images": [{**PINNED, **changes}]})
    content = forge.claims(lambda found: put(found, path, value) if path else None)
    return forge.good(forge.oidc(content), policy=policy, references=())


def env(name: str, change: Callable[[dict[str, Any]], None]) -> Hostile:
    def bad() -> Inputs:
        return forge.good(forge.oidc(forge.claims(lambda found: change(found["submods"]["container"]))))

    return Hostile(f"environment: {name}", "environment", bad)


def bare(path: str | None) -> Inputs:
    """An image without any environment, to which the launcher's container runtime adds a PATH."""
    config = json.dumps({"config": {"Entrypoint": ["java", "-jar", "aggregator_application.jar"]}})
    digest = sha256(config.encode())
    content = forge.claims()
    container = content["submods"]["container"]
    container["image_id"] = digest
    container["env"] = {"FCP_OPTS": "a b", "HOSTNAME": "aggregator-1"} | ({"PATH": path} if path else {})
    return forge.good(forge.oidc(content), references=(forge.reference(config=digest, config_json=config),))


def held(args: list[str]) -> Inputs:
    return forge.good(policy=forge.policy_with(args=args))


ENVIRONMENTS = [
    env("one more", lambda container: container["env"].update(DEBUG="1")),
    env("LD_PRELOAD beside the overrides", lambda container: container["env"].update(LD_PRELOAD="/tmp/x.so")),
    env("one less", lambda container: container["env"].pop("LANG")),
    env("another value", lambda container: container["env"].update(LANG="C")),
    env("another PATH", lambda container: container["env"].update(PATH="/tmp:" + forge.PATH)),
    env("another host name", lambda container: container["env"].update(HOSTNAME="other")),
    env("an empty host name", lambda container: container["env"].update(HOSTNAME="")),
    env("an override that was not applied", lambda container: container["env"].pop("FCP_OPTS")),
    env("an override with another value", lambda container: container["env"].update(FCP_OPTS="b a")),
    env("an override that is not stated", lambda container: container.pop("env_override")),
    env("null", lambda container: container.update(env=None)),
    env("missing", lambda container: container.pop("env")),
    env("a list", lambda container: container.update(env=[f"PATH={forge.PATH}", "LANG=C.UTF-8"])),
    env("text", lambda container: container.update(env="PATH=/")),
    env("a number in it", lambda container: container["env"].update(LANG=1)),
    env("null in it", lambda container: container["env"].update(LANG=None)),
    Hostile(
        "environment: another PATH for a bare image",
        "environment",
        lambda: bare("/tmp"),
        lambda: bare(forge.PATH),
    ),
]
ARGS: list[Any] = [
    ["java", "-jar"],
    ["java", "-jar", "aggregator_application.jar", "--debug"],
    ["java", "-agentlib:jdwp", "-jar", "aggregator_application.jar"],
    ["-jar", "java", "aggregator_application.jar"],
    ["java", "-jar", "aggregator_application.jar\n"],
    ["java -jar aggregator_application.jar"],
    "java -jar aggregator_application.jar",
    [],
    None,
    [["java", "-jar", "aggregator_application.jar"]],
    {"0": "java"},
    True,
    ["sh", "-c", "id"],
    MISSING,
]
ANOTHER = {"config": sha256((CONFIG + " ").encode()), "config_json": CONFIG + " "}
REFERENCES = [
    Hostile("reference: none at all", "image digest", lambda: forge.good(references=())),
    referred("of another image of ours", "image digest", {"image": "collector"}),
    referred("of other digests", "image digest", {"manifest": OTHER}),
    referred(
        "another configuration",
        "image id",
        {"config": sha256((CONFIG + " ").encode()), "config_json": CONFIG + " "},
    ),
    referred("expired", "reference expiry", {"expires": NOW - 1}),
    referred("expired to the second", "reference expiry", {"expires": NOW}),
    referred("expired, twice", "reference expiry", {"expires": NOW - 1}, {"expires": NOW - 5}),
    referred("agreed on later", "reference expiry", {"agreed": NOW + 1}),
    referred("disputed", "agreement", {"state": "disputed", "reason": "a says x, b says y"}),
    referred("revoked", "agreement", {"state": "revoked", "reason": "a flaw"}),
    referred("agreed and revoked", "agreement", {}, {"state": "revoked"}),
    referred("revoked and agreed", "agreement", {"state": "revoked"}, {}),
    referred("agreed, and revoked long ago", "agreement", {}, {"state": "revoked", "expires": NOW - 5}),
    referred("the same source disputed", "agreement", {}, {"state": "disputed", "manifest": OTHER}),
    referred("conflicting, the same source", "agreement", {}, {"manifest": OTHER}),
    referred(
        "conflicting, the same manifest",
        "agreement",
        {},
        {**ANOTHER, "revision": "beef"},
    ),
    referred(
        "too few builders for the policy", "agreement", {"builders": ["https://a.example/"], "threshold": 1}
    ),
    referred("too few builders for its threshold", "agreement", {"threshold": 3}),
    referred("one builder twice", "agreement", {"builders": ["https://a.example/", "https://a.example/"]}),
    referred("no builders", "agreement", {"builders": []}),
    Hostile("reference: its configuration is another one", "reference digest", lying, also=()),
    Hostile("reference: its configuration is not its digest's", "reference digest", lying_quietly),
    Hostile("reference: its configuration is none", "reference digest", broken),
    Hostile(
        "index: one that no reference lists", "image digest", lambda: indexed(OTHER), lambda: indexed(INDEX)
    ),
    Hostile("index: in capitals", "image digest", lambda: indexed(INDEX.upper()), lambda: indexed(INDEX)),
]
PINS = [
    Hostile("pinned: another image", "image digest", lambda: pinned(image_digest=OTHER), pinned),
    Hostile("pinned: another configuration", "image id", lambda: pinned(image_id=OTHER), pinned),
    Hostile("pinned: another environment", "environment", lambda: pinned(env={"PATH": "/"}), pinned),
    Hostile("pinned: other arguments", "arguments", lambda: pinned(args=["java"]), pinned),
    Hostile(
        "pinned: the configuration's digest in the digest's place",
        "image digest",
        lambda: pinned(f"{CONTAINER}/image_digest", CONFIG_DIGEST),
        pinned,
    ),
]
HOSTILE = [
    *(claim("image digest", f"{CONTAINER}/image_digest", value) for value in disguises(MANIFEST)),
    claim("image digest", f"{CONTAINER}/image_digest", CONFIG_DIGEST, "the configuration's in the digest's place"),
    *(claim("image id", f"{CONTAINER}/image_id", value) for value in disguises(CONFIG_DIGEST)),
    claim("image id", f"{CONTAINER}/image_id", MANIFEST, "the manifest's digest in the configuration's place"),
    *REFERENCES,
    *PINS,
    *ENVIRONMENTS,
    *(claim("arguments", f"{CONTAINER}/args", value) for value in ARGS),
    Hostile("arguments: not the policy's", "arguments", lambda: held(["java"]), lambda: held(PINNED["args"])),
]  # fmt: skip
