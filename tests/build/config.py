"""What Cloud Build makes of cloudbuild.yaml, and what it would refuse, as far as its API and documents say.

https://cloud.google.com/build/docs/build-config-file-schema (schema),
https://cloud.google.com/build/docs/configuring-builds/substitute-variable-values (substitutions),
https://cloud.google.com/build/docs/securing-builds/configure-user-specified-service-accounts (accounts and logs).

1. The document is a Build: no field that the API does not know, no key twice. 2. Names and sizes of substitutions.
3. None is undefined, none unused; defaults name others only with dynamicSubstitutions. 4. Steps have ids of their own,
and wait for earlier ones. 5. A script stands alone, says what runs it, and reads only variables that its step has:
substitutions do not reach into it. 6. Secrets are declared, and no plain variable has their name. 7. Time limits fit.
8. An account of its own needs a place for the log. 9. Steps run in Google's own images, or in images by digest.
10. A step's variables are NAME=VALUE, each once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from google.cloud.devtools import cloudbuild_v1
from google.protobuf import json_format

from functions.local.layout import CHECKOUT

PATH = CHECKOUT / "cloudbuild.yaml"
BUILT_IN = frozenset(
    {
        *("PROJECT_ID", "BUILD_ID", "PROJECT_NUMBER", "LOCATION"),
        *(
            "TRIGGER_NAME",
            "COMMIT_SHA",
            "REVISION_ID",
            "SHORT_SHA",
            "REPO_NAME",
            "REPO_FULL_NAME",
            "BRANCH_NAME",
        ),
        *("TAG_NAME", "REF_NAME", "TRIGGER_BUILD_CONFIG_PATH", "SERVICE_ACCOUNT_EMAIL", "SERVICE_ACCOUNT"),
    }
)
_OF_A_STEP = frozenset({"BUILDER_OUTPUT", "HOME", "PATH", "PWD", "SECONDS"})
"""What a step's shell has without being told: https://cloud.google.com/build/docs/build-debug-locally, bash(1)."""
_USER = re.compile(r"_[A-Z0-9_]{1,99}")
_USED = re.compile(r"\$\$|\$\{([A-Z_][A-Z0-9_]*)[^}]*\}|\$([A-Z_][A-Z0-9_]*)")
_READ = re.compile(r"\$\{?!?([A-Za-z_][A-Za-z0-9_]*)")
_SET = re.compile(r"(?:^|[\s;(])([A-Za-z_][A-Za-z0-9_]*)=|\bfor ([a-z_]+) in\b|\$\(\(")
_OWN = re.compile(r"(gcr\.io/google\.com/cloudsdktool|gcr\.io/cloud-builders)/[a-z-]+(:[\w.-]+)?")
_BY_DIGEST = re.compile(r"[a-z0-9.-]+(/[a-z0-9._-]+)+(:[\w.-]+)?@sha256:[0-9a-f]{64}")
_LONGEST, _MOST, _STEPS = 4000, 200, 300
_DAY = 86400


class _Strict(yaml.SafeLoader):
    """No key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        made = super().construct_mapping(node, deep)
        if len(made) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice", node.start_mark)
        return made


def read(text: str) -> dict[str, Any]:
    """The document; ValueError if it is none."""
    try:
        return dict(yaml.load(text, _Strict))  # noqa: S506 - a safe loader
    except (yaml.YAMLError, TypeError) as error:
        raise ValueError(f"the file is no YAML mapping: {error}") from error


def faults(text: str) -> list[str]:
    """Everything that Cloud Build would refuse, or that this project does not want."""
    try:
        document = read(text)
        json_format.ParseDict(document, cloudbuild_v1.Build.pb()())  # type: ignore[no-untyped-call]  # 1
    except (ValueError, json_format.ParseError) as error:
        return [f"1: {error}"]
    steps = document.get("steps") or []
    found = [*_substitutions(document), *_order(steps), *_document(document)]
    for number, step in enumerate(steps):
        found += [f"{fault} (step {step.get('id', number)})" for fault in _step(step, document)]
    return found


def _substitutions(document: Mapping[str, Any]) -> Iterator[str]:
    given: dict[str, str] = document.get("substitutions") or {}
    if len(given) > _MOST:
        yield f"2: there are {len(given)} substitutions"
    for name, value in given.items():
        if not _USER.fullmatch(name):
            yield f"2: {name} is no name of a substitution"
        if len(value.encode()) > _LONGEST:
            yield f"2: {name} is too long"
    used = set(_used({key: value for key, value in document.items() if key != "substitutions"}))
    nested = set(_used(given))
    if nested and not (document.get("options") or {}).get("dynamicSubstitutions"):
        yield "3: a default names another substitution, which takes dynamicSubstitutions"
    yield from (f"3: {name} is not defined" for name in sorted((used | nested) - set(given) - BUILT_IN))
    yield from (f"3: {name} is not used" for name in sorted(set(given) - used - nested))


def _used(value: Any, key: str = "") -> Iterator[str]:
    """Substitutions in any text but scripts, which they do not reach."""
    if isinstance(value, str) and key != "script":
        yield from (found[1] or found[2] for found in _USED.finditer(value) if found[0] != "$$")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _used(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _used(inner, key)


def _order(steps: list[dict[str, Any]]) -> Iterator[str]:  # 4
    seen: set[str] = set()
    if not 0 < len(steps) <= _STEPS:
        yield f"4: there are {len(steps)} steps"
    for step in steps:
        for wanted in step.get("waitFor") or []:
            if wanted != "-" and wanted not in seen:
                yield f"4: {wanted} is no step before {step.get('id')}"
        if step.get("id") in seen:
            yield f"4: two steps are called {step['id']}"
        seen.add(step.get("id", ""))


def _document(document: Mapping[str, Any]) -> Iterator[str]:
    options = document.get("options") or {}
    limit = _seconds(document.get("timeout", "3600s"))
    if not 0 < limit <= _DAY:  # 7
        yield f"7: the build may take {limit:.0f} s"
    for step in document.get("steps") or []:
        if _seconds(step.get("timeout", "0s")) > limit:  # 7
            yield f"7: the step {step.get('id')} may take longer than the build"
    stored = options.get("logging") in ("CLOUD_LOGGING_ONLY", "NONE") or document.get("logsBucket")
    if document.get("serviceAccount") and not stored and not options.get("defaultLogsBucketBehavior"):  # 8
        yield "8: with an account of its own, a build needs a place for its log"


def _step(step: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    name = expanded(step.get("name", ""), values(document))
    if not _OWN.fullmatch(name) and not _BY_DIGEST.fullmatch(name):  # 9
        yield f"9: {name} is neither Google's own nor named by digest"
    pairs = [
        each.partition("=")
        for each in [*((document.get("options") or {}).get("env") or []), *(step.get("env") or [])]
    ]
    names = [pair[0] for pair in pairs]
    if any(not re.fullmatch(r"[A-Za-z_]\w*", one) or not equals for one, equals, _ in pairs):  # 10
        yield "10: a variable is no NAME=VALUE"
    if len(set(names)) != len(names):  # 10
        yield "10: a variable stands twice"
    secret = step.get("secretEnv") or []
    declared = {
        one.get("env") for one in ((document.get("availableSecrets") or {}).get("secretManager") or [])
    }
    yield from (f"6: the secret {one} is not declared" for one in secret if one not in declared)
    yield from (f"6: {one} is a secret and a variable" for one in secret if one in names)
    if "script" in step:
        yield from _script(step, {*names, *secret})


def _script(step: Mapping[str, Any], names: set[str]) -> Iterator[str]:  # 5
    script = str(step["script"])
    if step.get("args") or step.get("entrypoint"):
        yield "5: a script takes no args and no entrypoint"
    if not script.startswith("#!"):
        yield "5: the script does not say what runs it"
    own = {name for found in _SET.finditer(script) for name in found.groups() if name}
    own |= set(re.findall(r"\bmkdir -p (\w+)", script))
    for name in sorted(set(_READ.findall(script)) - names - own - _OF_A_STEP):
        yield f"5: the script reads {name}, which its step does not have"


def _seconds(text: str) -> float:
    return float(str(text).removesuffix("s"))


def values(document: Mapping[str, Any], **given: str) -> dict[str, str]:
    """Substitutions as a build sees them: `given` on top of the defaults, built-in ones empty unless given."""
    found = {**dict.fromkeys(BUILT_IN, ""), **(document.get("substitutions") or {}), **given}
    for _ in range(len(found)):
        resolved = {name: expanded(value, found) for name, value in found.items()}
        if resolved == found:
            break
        found = resolved
    return found


def expanded(text: str, known: Mapping[str, str]) -> str:
    """A text with its substitutions; what is not known becomes nothing."""
    return _USED.sub(lambda found: "$" if found[0] == "$$" else known.get(found[1] or found[2], ""), text)
