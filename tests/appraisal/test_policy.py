"""Policies: a rule that allows everything by being empty, loose or wrong is refused when the file is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.appraisal import policy
from shared.errors import Permanent
from shared.model.appraisal import AppraisalPolicy
from shared.model.overrides import forbidden
from tests.appraisal import forge

SECOND = forge.SIGNERS[1]
PIN = {"image_digest": forge.MANIFEST, "image_id": forge.CONFIG_DIGEST, "env": {}, "args": ["x"]}
WRONG: list[tuple[str, Any]] = [
    *(
        (name, value)
        for name in ("audience", "issuer", "service", "image")
        for value in ("", None, [], "a b", 1)
    ),
    ("audience", "https://sts.googleapis.com"),
    ("audience", "https://sts.googleapis.com/"),
    ("audience", "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"),
    ("audience", ["https://dmz.example.com"]),
    ("issuer", "http://confidentialcomputing.googleapis.com"),
    *(
        (name, [])
        for name in ("token_types", "hwmodel", "support_attributes", "projects", "zones", "service_accounts")
    ),
    *(
        (name, None)
        for name in ("token_types", "hwmodel", "support_attributes", "projects", "service_accounts")
    ),
    ("token_types", ["JWT"]),
    ("token_types", ["PKI", "PKI"]),
    ("hwmodel", ["GCP_SHIELDED_VM"]),
    ("hwmodel", ["GCP_INTEL_TDX", "GCP_INTEL_TDX"]),
    ("hwmodel", "GCP_INTEL_TDX"),
    ("hwmodel", [""]),
    ("support_attributes", ["USABLE"]),
    ("support_attributes", ["EXPERIMENTAL", "STABLE"]),
    ("dbgstat", "enabled"),
    ("dbgstat", ""),
    ("secboot", False),
    ("oemid", 0),
    ("swname", "GCE"),
    ("swversion_minimum", 0),
    ("swversion_minimum", "250800"),
    ("swversion_minimum", None),
    ("tdx_tcb_status", []),
    ("tdx_tcb_status", ["OutOfDate"]),
    ("tdx_tcb_status", ["Revoked"]),
    ("gpu", "any"),
    ("gpu", "DEVTOOLS"),
    ("memory_monitoring", True),
    ("projects", [{"id": "", "number": "1"}]),
    ("projects", [{"id": "dmz-inner", "number": ""}]),
    ("projects", [{"id": "dmz-inner"}]),
    ("projects", [{"id": "dmz-inner", "number": 123}]),
    ("zones", [""]),
    ("service_accounts", [""]),
    ("service_accounts", ["*"]),
    ("service_accounts", ["*@dmz-inner.iam.gserviceaccount.com"]),
    ("env_overrides", {"LD_PRELOAD": ".*"}),
    ("env_overrides", {"ld_library_path": ".*"}),
    ("env_overrides", {"JAVA_TOOL_OPTIONS": "-Xmx1g"}),
    ("env_overrides", {"PYTHONPATH": "x"}),
    ("env_overrides", {"PATH": "x"}),
    ("env_overrides", {"DEBUG": ""}),
    ("env_overrides", {"DEBUG": "("}),
    ("env_overrides", {"": "x"}),
    ("env_overrides", {"A=B": "x"}),
    ("env_overrides", {"*": "x"}),
    ("env_overrides", ["DEBUG"]),
    ("env_overrides", None),
    ("args", []),
    ("args", "any"),
    ("signers", {"key_ids": [], "minimum": 1}),
    ("signers", {"key_ids": [SECOND], "minimum": 0}),
    ("signers", {"key_ids": [SECOND], "minimum": 2}),
    ("signers", {"key_ids": [SECOND, SECOND], "minimum": 2}),
    ("signers", {"key_ids": [SECOND.upper()], "minimum": 1}),
    ("signers", {"key_ids": [""], "minimum": 1}),
    ("nonce", {"required": "no"}),
    ("nonce", {"min_length": 1}),
    ("nonce", {"max_length": 500}),
    ("nonce", {"min_length": 40, "max_length": 20}),
    ("nonce", None),
    ("max_age", 0),
    ("max_age", 3601),
    ("max_lifetime", 3601),
    ("max_lifetime", 0),
    ("leeway", 61),
    ("leeway", -1),
    ("leeway", 1.5),
    ("reference", {"rule": "none"}),
    ("reference", {"rule": "digests", "images": []}),
    ("reference", {"rule": "digests"}),
    ("reference", {"rule": "digests", "images": [{**PIN, "image_digest": ""}]}),
    ("reference", {"rule": "digests", "images": [{**PIN, "image_digest": forge.MANIFEST.upper()}]}),
    ("reference", {"rule": "digests", "images": [{**PIN, "image_digest": forge.MANIFEST + "\n"}]}),
    ("reference", {"rule": "digests", "images": [{**PIN, "image_digest": "latest"}]}),
    ("reference", {"rule": "digests", "images": [{**PIN, "image_id": forge.MANIFEST[7:]}]}),
    ("reference", {"rule": "digests", "images": [{**PIN, "args": []}]}),
    ("reference", {"rule": "reference", "minimum_builders": 0}),
    ("reference", None),
    ("format", "package-dmz/appraisal-policy/v2"),
    ("unknown", 1),
]


def write(path: Path, content: Any) -> Path:
    file = path / "policy.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_refused_at_reading(name: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match=name) as caught:
        policy.read(write(tmp_path, {**forge.POLICY, name: value}))
    assert str(caught.value).startswith("The appraisal policy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", [name for name in forge.POLICY if name not in ("env_overrides", "signers", "reference")]
)
def test_nothing_is_filled_in_that_only_the_user_knows(name: str, tmp_path: Path) -> None:
    content = {key: value for key, value in forge.POLICY.items() if key != name}
    if name == "zones":
        assert policy.read(write(tmp_path, content)).zones is None
        return
    with pytest.raises(Permanent, match=f"the field {name} is missing"):
        policy.read(write(tmp_path, content))


@pytest.mark.parametrize(
    "text", ["", "[]", "x", "a: 1\na: 2\n", "a: &x 1\nb: *x\n", "a: {", "\x00"], ids=repr
)
def test_what_is_no_policy(text: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(Permanent, match="The appraisal policy"):
        policy.read(file)


def test_a_mistake_is_named_by_its_line(tmp_path: Path) -> None:
    text = yaml.safe_dump(forge.POLICY, sort_keys=False).replace("- GCP_AMD_SEV", "- GCP_SHIELDED_VM")
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    line = text.splitlines().index("- GCP_SHIELDED_VM") + 1
    with pytest.raises(Permanent, match=rf"hwmodel.*\(line {line}\)"):
        policy.read(file)


def test_the_policies_that_come_with_the_project() -> None:
    assert policy.built_in() == ("aggregator", "pinned")
    for name in policy.built_in():
        found = policy.find(name)
        assert found.service == name
        assert AppraisalPolicy.read(found.canonical(), "The policy") == found
    with pytest.raises(Permanent, match="give one of aggregator, pinned, or the path"):
        policy.find("nothing")


def test_digests_of_policies_differ_with_their_rules() -> None:
    assert forge.policy().digest == AppraisalPolicy.check(forge.POLICY, "The policy").digest
    assert forge.policy().digest != forge.policy_with(max_age=599).digest


@pytest.mark.parametrize(
    "name", ["LD_X", "ld_preload", "Java_Tool_Options", "X_JAVA_OPTIONS", "A_PROXY", "PYTHONUTF8"]
)
def test_forbidden_names(name: str) -> None:
    assert forbidden(name)


@pytest.mark.parametrize("name", ["FCP_OPTS", "LOG_LEVEL", "LDAP_URL", "PORT", "PATHOLOGY"])
def test_names_that_may_be_allowed(name: str) -> None:
    assert not forbidden(name)
