"""cloudbuild.yaml against the API's own message and what the API refuses; each seeded fault goes red."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.events import PUBLISHERS
from tests.build import config

TEXT = config.PATH.read_text(encoding="utf-8")
DOCUMENT = config.read(TEXT)
STEPS: dict[str, dict[str, Any]] = {step["id"]: step for step in DOCUMENT["steps"]}


def test_the_file_is_a_build_that_the_api_takes() -> None:
    assert config.faults(TEXT) == []


FAULTS = {
    "a field that is none": ("1", "timeout: 10800s", "timeout: 10800s\ntimout: 1s"),
    "a field of a step that is none": ("1", "    env: [PROJECT=$PROJECT_ID]\n", "    environ: [PROJECT=x]\n"),
    "an enum's value that is none": ("1", "machineType: E2_HIGHCPU_8", "machineType: E2_HUGE"),
    "a number for a text": ("1", '_DEPLOY: "false"', "_DEPLOY: false"),
    "a duration without its unit": ("1", "timeout: 10800s", "timeout: 3 hours"),
    "a key twice": ("1", "timeout: 10800s", "timeout: 10800s\ntimeout: 10800s"),
    "no YAML": ("1", "steps:", "steps: ["),
    "a substitution in small letters": ("2", "_ROLE: builder", "_ROLE: builder\n  _role: builder"),
    "a substitution without underscore": ("2", "_ROLE: builder", "_ROLE: builder\n  ROLE: builder"),
    "a substitution of 4 KB": ("2", "_TESTS: not network", f"_TESTS: {'x' * 4001}"),
    "an undefined substitution": ("3", "_STATE_BUCKET: \"\"", "_STATE_BUKET: \"\""),
    "an unused substitution": ("3", "_ROLE: builder", "_ROLE: builder\n  _MORE: x"),
    "an unknown built-in one": ("3", "$BUILD_ID", "$BUILD_IDENTITY"),
    "nested substitutions without leave": ("3", "dynamicSubstitutions: true", "dynamicSubstitutions: false"),
    "an id twice": ("4", "id: test", "id: lint"),
    "a wait for nobody": ("4", "  - id: test\n", "  - id: test\n    waitFor: [lynt]\n"),
    "a wait for a later step": ("4", "  - id: lint\n", "  - id: lint\n    waitFor: [test]\n"),
    "a script with arguments": ("5", "  - id: lint\n", "  - id: lint\n    args: [x]\n"),
    "a script without interpreter": ("5", "      #!/usr/bin/env bash\n", ""),
    "a substitution inside a script": ("5", "[[ $ROLE == builder ]] || exit 0", "[[ $_ROLE == builder ]] || exit 0"),
    "a variable that the step lacks": ("5", "env: [REPOSITORY=$_REPOSITORY, ROLE=$_ROLE]", "env: [ROLE=$_ROLE]"),
    "an undeclared secret": ("6", "  - id: lint\n", "  - id: lint\n    secretEnv: [TOKEN]\n"),
    "a build of two days": ("7", "timeout: 10800s", "timeout: 172800s"),
    "a step longer than the build": ("7", "  - id: lint\n", "  - id: lint\n    timeout: 20000s\n"),
    "no place for the log": ("8", "  logging: CLOUD_LOGGING_ONLY\n", ""),
    "somebody's image by tag": ("9", "  - id: lint\n    name: ${_TOOLS}", "  - id: lint\n    name: python:3.12"),
    "another registry by default": ("9", "_TOOLS: gcr.io/google.com/cloudsdktool", "_TOOLS: docker.io/google"),
    "no image": ("9", "  - id: lint\n    name: ${_TOOLS}", "  - id: lint"),
    "a variable without value": ("10", "env: [PROJECT=$PROJECT_ID]", "env: [PROJECT]"),
    "a variable twice": ("10", "env: [PROJECT=$PROJECT_ID]", "env: [PROJECT=$PROJECT_ID, PROJECT=x]"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_seeded_fault_is_seen(name: str) -> None:
    number, old, new = FAULTS[name]
    assert old in TEXT, f"cloudbuild.yaml has no {old!r} any more: mend the fault"
    found = config.faults(TEXT.replace(old, new, 1))
    assert any(fault.startswith(f"{number}: ") for fault in found), found


def test_every_check_has_its_fault() -> None:
    assert {number for number, _, _ in FAULTS.values()} == {str(number) for number in range(1, 11)}


def test_a_secret_may_not_be_a_variable_too() -> None:
    text = TEXT.replace("  - id: lint\n", "  - id: lint\n    secretEnv: [ROLE]\n", 1)
    text += "availableSecrets:\n  secretManager:\n    - versionName: projects/p/secrets/s/versions/1\n      env: ROLE\n"
    assert [fault for fault in config.faults(text) if fault.startswith("6: ")] == [
        "6: ROLE is a secret and a variable (step lint)"
    ]


def test_an_image_by_digest_is_taken() -> None:
    by_digest = "gcr.io/google.com/cloudsdktool/google-cloud-cli@sha256:" + "0" * 64
    assert config.faults(TEXT.replace(DOCUMENT["substitutions"]["_TOOLS"] + "\n", by_digest + "\n")) == []


def test_the_steps_come_in_the_order_that_makes_them_safe() -> None:
    """Strangers' packages come after the statement is kept; nothing is pushed before both agree."""
    assert list(STEPS) == [
        *("build", "provenance", "start", "lint", "test", "compare", "push", "publish", "deploy", "smoke"),
    ]


@pytest.mark.parametrize("name", STEPS)
def test_a_script_is_sound_shell(name: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(STEPS[name]["script"])
    assert subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=True).stderr == ""
    # Without it a step that failed in its middle would be a success.
    assert "set -euo pipefail\n" in STEPS[name]["script"]


def test_the_second_builder_does_nothing_that_it_may_not() -> None:
    """It builds, hands its statement over and publishes it; every other script ends at once."""
    allowed = {"build", "provenance", "publish"}
    for name, step in STEPS.items():
        ends = re.search(r"^\[\[ \$ROLE == builder \]\] \|\| exit 0$", step["script"], re.MULTILINE)
        assert bool(ends) == (name not in allowed), name


def test_names_are_those_of_terraform() -> None:
    """Accounts, keys, buckets and repository by default are what terraform/outer makes."""
    files = {path.name: path.read_text() for path in (config.CHECKOUT / "terraform" / "outer").glob("*.tf")}
    for role in ("builder", "rebuilder"):
        found = config.values(DOCUMENT, PROJECT_ID="p", LOCATION="us-central1", _ROLE=role)
        assert config.expanded(DOCUMENT["serviceAccount"], found).endswith(
            f"/{role}@p.iam.gserviceaccount.com"
        )
        assert f'account_id   = "{role}"' in files["identities.tf"]
    ring = re.search(r'"google_kms_key_ring" "dmz" \{[^}]*name\s+= "([^"]+)"', files["keys.tf"])
    assert ring
    assert f"/keyRings/{ring[1]}/cryptoKeys/$_ROLE/" in TEXT
    assert '["builder", "rebuilder", "verification-summaries"]' in files["keys.tf"]
    assert found["_PROVENANCE"] == "gs://p-dmz-provenance"
    assert '"${var.project}-dmz-${each.key}"' in files["buckets.tf"]
    assert "provenance = " in files["buckets.tf"]
    assert found["_REPOSITORY"] == "us-central1-docker.pkg.dev/p/dmz-services"
    assert 'repository_id = "dmz-services"' in files["repositories.tf"]
    assert "Cloud Build" in PUBLISHERS["image-built"]
    assert '"inner"' in (config.CHECKOUT / "terraform/inner/function.tf").read_text()
    assert 'serves "$inner" inner\n' in STEPS["smoke"]["script"]
    stages = re.search(r"for stage in ([a-z ]+); do", STEPS["smoke"]["script"])
    assert stages
    assert stages[1].split() == re.findall(r"module\.(\w+)\.service", files["outputs.tf"])


_STRANGERS = ("--volume", "--mount", "--network", "docker.sock")


def closed(name: str, script: str) -> list[str]:
    """What a step that runs strangers' packages leaves open: ways back to the workspace and to the credentials."""
    found = [f"{name} gives its container {each}" for each in _STRANGERS if each in script]
    outside = script.partition("docker run")[0]
    if "./dmz" in outside or "docker run" not in script:
        found.append(f"{name} runs ./dmz in the workspace")
    if "--exclude=./build " not in outside:
        found.append(f"{name} hands over the built image")
    if "--env=CI=true" not in script:
        found.append(f"{name} may skip what it cannot run")
    return found


@pytest.mark.parametrize("name", ["lint", "test"])
def test_strangers_packages_do_not_meet_the_image(name: str) -> None:
    assert closed(name, STEPS[name]["script"]) == []
    assert [each for each, step in STEPS.items() if "./dmz test" in step["script"]] == ["lint", "test"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--interactive", "--interactive --volume=/workspace:/workspace"),
        ("--interactive", "--interactive --network=cloudbuild"),
        ("--interactive", "--interactive --volume=/var/run/docker.sock:/var/run/docker.sock"),
        ("--env=CI=true ", ""),
        ("--exclude=./build ", ""),
        ("tar --create", "./dmz test lint; tar --create"),
    ],
)
@pytest.mark.parametrize("name", ["lint", "test"])
def test_a_seeded_opening_is_seen(name: str, old: str, new: str) -> None:
    script = STEPS[name]["script"]
    assert old in script
    assert closed(name, script.replace(old, new, 1))


def test_defaults_are_cautious() -> None:
    found = config.values(DOCUMENT, PROJECT_ID="p", LOCATION="us-central1")
    assert (found["_DEPLOY"], found["_ROLE"], found["_REVISION"]) == ("false", "builder", "")
    assert DOCUMENT["options"]["substitutionOption"] == "MUST_MATCH"
    assert found["_TOOLS"].startswith("gcr.io/google.com/")
