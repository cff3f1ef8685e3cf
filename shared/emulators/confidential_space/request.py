"""The body of instances.insert, read as far as Confidential Space needs it.

https://cloud.google.com/compute/docs/reference/rest/v1/instances/insert and
https://cloud.google.com/confidential-computing/confidential-space/docs/deploy-workloads. Checks:
1. the name is a name;
2. the boot disk is of an image family (or image) of the project confidential-space-images;
3. the confidential technology is one that Confidential Space runs on; without it, and without secure boot, the VM
   starts: its tokens say so;
4. one service account, which exists;
5. metadata keys once each, of bearable size.
Other fields are taken and shown again, and mean nothing here.
"""

import re
from collections.abc import Mapping
from typing import Any

from shared.emulators.confidential_space.claims import HARDWARE
from shared.emulators.confidential_space.machine import Machine
from shared.emulators.confidential_space.problems import ComputeProblem, invalid, not_found
from shared.emulators.vm.spec import Identity, Place

_NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_IMAGE = re.compile(
    r"(?:https?://[^/]+/compute/[^/]+/)?projects/(?P<project>[^/]+)/global/images/(?:family/)?(?P<image>[^/]+)"
)
_IMAGE_PROJECT = "confidential-space-images"
_FAMILY = re.compile(r"confidential-space(?P<debug>-debug)?(?:-[a-z0-9-]+)?", re.ASCII)
_KEY = re.compile(r"[a-zA-Z0-9_-]{1,128}", re.ASCII)
# https://cloud.google.com/compute/docs/metadata/setting-custom-metadata#limitations
_MOST_VALUE, _MOST_METADATA = 256 * 1024, 512 * 1024


def machine(body: Any, place: Place, identities: Mapping[str, Identity]) -> Machine:
    """ComputeProblem for what Compute Engine would refuse."""
    if not isinstance(body, dict):
        raise invalid("Invalid JSON payload received. Expected an object.")
    name = body.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):  # check 1
        raise invalid(
            f"Invalid value for field 'resource.name': '{str(name)[:100]}'. Must be a match of regex "
            "'(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'"
        )
    if not isinstance(body.get("machineType"), str) or not body["machineType"]:
        raise invalid("Invalid value for field 'resource.machineType': ''. A machine type must be given.")
    try:
        confidential = body.get("confidentialInstanceConfig") or {}
        return Machine(
            name=name,
            place=place,
            technology=_technology(confidential),
            secure_boot=bool((body.get("shieldedInstanceConfig") or {}).get("enableSecureBoot", False)),
            debug=_is_debug(body),
            identity=_identity(body, place.project, identities),
            attributes=_attributes(body),
        )
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise invalid(
            f"Invalid JSON payload received. A field is of the wrong type: {error!r:.200}"
        ) from None


def _is_debug(body: Mapping[str, Any]) -> bool:  # check 2
    boot = [disk for disk in body.get("disks") or () if disk.get("boot", True)]
    source = str((boot[0].get("initializeParams") or {}).get("sourceImage") or "") if boot else ""
    match = _IMAGE.fullmatch(source)
    if not match:
        raise invalid(
            f"Invalid value for field 'resource.disks[0].initializeParams.sourceImage': '{source[:200]}'. The URL is "
            "malformed."
        )
    family = _FAMILY.fullmatch(match["image"])
    if match["project"] != _IMAGE_PROJECT or not family:
        raise not_found(source[source.index("projects/") :][:300])
    return bool(family["debug"])


def _technology(confidential: Mapping[str, Any]) -> str:  # check 3
    kind = confidential.get("confidentialInstanceType") or ""
    if not confidential.get("enableConfidentialCompute", bool(kind)):
        return ""
    kind = kind or "SEV"
    if kind not in HARDWARE:
        raise invalid(
            "Invalid value for field 'resource.confidentialInstanceConfig.confidentialInstanceType': "
            f"'{str(kind)[:100]}'. Expected one of {', '.join(filter(None, HARDWARE))}."
        )
    return str(kind)


def _identity(
    body: Mapping[str, Any], project: str, identities: Mapping[str, Identity]
) -> Identity:  # check 4
    accounts: list[Any] = body.get("serviceAccounts") or []
    if len(accounts) != 1:
        raise invalid("Invalid value for field 'resource.serviceAccounts': give exactly one service account.")
    email = str(accounts[0].get("email"))
    if email not in identities:
        raise ComputeProblem(
            400,
            f"The resource 'projects/{project}/serviceAccounts/{email[:200]}' of type 'serviceAccount' was not found.",
        )
    identity = identities[email]
    scopes = tuple(str(scope) for scope in accounts[0].get("scopes") or ())
    return Identity(email, identity.topics, scopes or identity.scopes, identity.subscriptions)


def _attributes(body: Mapping[str, Any]) -> dict[str, str]:  # check 5
    found: dict[str, str] = {}
    for number, item in enumerate((body.get("metadata") or {}).get("items") or ()):
        key, value = item.get("key"), item.get("value") or ""
        field = f"resource.metadata.items[{number}]"
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise invalid(
                f"Invalid value for field '{field}.key': '{str(key)[:130]}'. Must be a match of regex "
                "'[a-zA-Z0-9-_]{1,128}'"
            )
        if key in found:
            raise invalid(f"Invalid value for field '{field}': Duplicate metadata keys: '{key}'.")
        if not isinstance(value, str) or len(value.encode()) > _MOST_VALUE:
            raise invalid(
                f"Value for field '{field}.value' is too large: maximum size {_MOST_VALUE} byte(s)."
            )
        found[key] = value
    if sum(len(key) + len(value.encode()) for key, value in found.items()) > _MOST_METADATA:
        raise invalid(
            f"Value for field 'resource.metadata' is too large: maximum size {_MOST_METADATA} byte(s)."
        )
    return found
