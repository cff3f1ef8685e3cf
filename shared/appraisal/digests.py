"""Which image the machine runs, held to reference values or to the digests that the policy pins itself.

`container.image_digest` is the digest that the image reference resolved to: the manifest's, or an index's if it led to
one. `container.image_id` is the configuration's digest, which covers everything inside the image whatever its layers'
compression, and its labels. The launcher starts the entry point and arguments of the image with its environment, the
overrides, HOSTNAME (the instance's name) and, for an image without any environment, containerd's default PATH.
"""

from __future__ import annotations

import re
from functools import lru_cache

from shared.appraisal.case import Case, Refused, shown
from shared.errors import Permanent
from shared.model.reference import ReferenceValue, configuration
from shared.model.value import sha256

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""https://github.com/containerd/containerd/blob/main/pkg/oci/spec.go, defaultUnixEnv."""


def image_digest(case: Case) -> str:
    found, rule = case.container.get("image_digest"), case.policy.reference
    if rule.rule == "digests":
        if any(each.image_digest == found for each in rule.images):
            return str(found)
        raise Refused(shown(found), _unknown(found) or "image_digest is none of those that the policy pins.")
    image = case.policy.image
    candidates: list[ReferenceValue] = []
    for each in case.references:
        if found is not None and (found == each.manifest or found == each.index) and each.image == image:
            candidates.append(each)
    case.candidates = candidates
    if candidates:
        return str(found)
    ours = [each for each in case.references if each.image == image]
    why = _unknown(found)
    if why:
        pass
    elif not ours:
        why = f"There is no reference value of the image {image}."
    elif any(found == each.config for each in ours):
        why = "image_digest is the digest of the image's configuration, which belongs into image_id."
    else:
        why = f"image_digest is none of those agreed on for {image}: another image, or a changed one."
    raise Refused(shown(found), why)


def _unknown(found: object) -> str:
    """What is wrong with a digest that equals none of those known, which are all well-formed, if it is not."""
    if type(found) is str and _DIGEST.fullmatch(found):
        return ""
    return "image_digest is not 'sha256:' and 64 lower-case hexadecimal digits: no digest at all."


def image_id(case: Case) -> str:
    found = case.container.get("image_id")
    rule = case.policy.reference
    if rule.rule == "digests":
        digest = case.container["image_digest"]
        for each in rule.images:
            if each.image_digest == digest and each.image_id == found:
                case.env, case.args = each.env, each.args
                return each.image_id
        raise Refused(shown(found), "image_id is not the one that the policy pins with this image_digest.")
    case.candidates = [each for each in case.candidates if each.config == found]
    if not case.candidates:
        raise Refused(
            shown(found), "image_id is not the configuration's digest in the reference value of this image."
        )
    return case.candidates[0].config


def agreement(case: Case) -> str:
    """No reference value of this image, or of the source that it was built from, says otherwise."""
    rule = case.policy.reference
    if rule.rule == "digests":
        return "the policy's own digests"
    digest = case.container["image_digest"]
    for each in case.candidates:
        for other in case.references:
            if (other is each and each.state == "agreed") or other.image != each.image:
                continue
            same_image = other.manifest == each.manifest or digest in (other.manifest, other.index)
            same_source = (other.revision, other.lock) == (each.revision, each.lock)
            if other.state != "agreed" and (same_image or same_source):
                reason = f": {other.reason}" if other.reason else ""
                raise Refused(other.state, shown(f"The reference value is {other.state}{reason}") + ".")
            differs = (other.manifest, other.config) != (each.manifest, each.config)
            # Under one index, other manifests are other platforms' images.
            clash = (same_source or other.manifest == each.manifest) and other.expires > case.now
            if differs and clash:
                raise Refused(
                    "conflict", "Two reference values in force say different digests for this image."
                )
        builders, needed = len(set(each.builders)), max(each.threshold, rule.minimum_builders)
        if builders < needed:
            raise Refused(
                f"{builders} builders",
                f"Only {builders} builders agreed on the reference value; {needed} are needed.",
            )
    return f"agreed by {len(case.candidates[0].builders)}"


def expiry(case: Case) -> str:
    if case.policy.reference.rule == "digests":
        return "the policy's own digests"
    now = case.now
    valid = None
    for each in case.candidates:
        if each.agreed <= now < each.expires and (valid is None or _force(each) > _force(valid)):
            valid = each
    if valid is None:
        latest = max(case.candidates, key=_force)
        raise Refused(
            f"from {latest.agreed} to {latest.expires}",
            f"The reference value is not in force at {case.now:.0f}: it expired, or was agreed on later.",
        )
    case.reference = valid
    return f"until {valid.expires}"


def _force(reference: ReferenceValue) -> tuple[int, int, str]:
    """Orders reference values by how long they last, and one way whatever order they came in."""
    return reference.expires, reference.agreed, reference.digest


def own_digest(case: Case) -> str:
    """The configuration that comes with the reference value is the one that its digest names."""
    if case.reference is None:
        return "the policy's own digests"
    try:
        digest, env, args = _read(case.reference.config_json)
    except Permanent as error:
        raise Refused("", shown(str(error))) from error
    if digest != case.reference.config:
        raise Refused(
            digest, "The reference value's own configuration does not have the digest that it states."
        )
    case.env, case.args = env, args
    return digest


def environment(case: Case) -> str:
    found = case.container.get("env")
    found = {} if found is None else found
    if type(found) is not dict:
        raise Refused(shown(type(found).__name__), "env is not an object.")
    overrides = case.container.get("env_override") or {}
    if type(overrides) is not dict:
        raise Refused(shown(type(overrides).__name__), "env_override is not an object.")
    wanted = {**case.env, **overrides}
    if "HOSTNAME" in found and "HOSTNAME" not in wanted:
        wanted["HOSTNAME"] = case.submods["gce"].get("instance_name")
    if not case.env and "PATH" in found and "PATH" not in wanted:
        wanted["PATH"] = _DEFAULT_PATH
    if found != wanted:
        names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise Refused(
            shown(", ".join(names)),
            shown(
                "The environment is not the image's with the allowed overrides: different are "
                + ", ".join(names)
            )
            + ".",
        )
    return f"{len(found)} variables"


def arguments(case: Case) -> str:
    found = case.container.get("args")
    if type(found) is not list or tuple(found) != case.args:
        raise Refused(shown(found), "args is not the image's entry point and command.")
    if case.policy.args != "image" and case.policy.args != case.args:
        raise Refused(shown(found), "args is as the image has it, and not as the policy has it.")
    return f"{len(found)} arguments"


@lru_cache(maxsize=256)
def _read(config_json: str) -> tuple[str, dict[str, str], tuple[str, ...]]:
    found = configuration(config_json, "The reference value's configuration")
    return sha256(config_json.encode()), found.env, found.entrypoint + found.cmd
