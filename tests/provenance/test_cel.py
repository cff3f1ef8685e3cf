"""The exported condition, evaluated by Google's CEL implementation over the claims that appraisals are tested with."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cel_expr_python import cel as engine
from hypothesis import given
from hypothesis import strategies as st

from shared.appraisal import cel, federation
from shared.appraisal.policy import find
from shared.errors import Permanent
from shared.model.reference import ReferenceValue
from shared.model.value import sha256
from tests.appraisal import forge, hostile_claims, hostile_image, test_real
from tests.appraisal.forge import INDEX, MANIFEST, NOW, Inputs
from tests.appraisal.hostile import Hostile, put

ENVIRONMENT = engine.NewEnv(variables={"assertion": engine.Type.DYN, "x": engine.Type.DYN})
UNASKED = {"issuer", "audience", "times", "lifetime", "current", "age", "nonce", "environment"}
"""Checks of an appraisal that a condition cannot ask: the first five are the token service's, the others UNSAID."""


NOT_EXPORTED = ("image digest", "image id", "agreement", "reference expiry", "reference digest", "arguments")
"""Checks that a policy and its reference values can fail by themselves."""


def evaluated(expression: str, **variables: Any) -> bool:
    """As the token service does: what is no plain `true` refuses."""
    found = ENVIRONMENT.compile(expression).eval(data=variables)
    return found.type() == engine.Type.BOOL and found.value() is True


def admitted(inputs: Inputs, **export: Any) -> bool:
    exported = federation.export(inputs.policy, list(inputs.references), inputs.now, **export)
    token = inputs.token if isinstance(inputs.token, str) else inputs.token.decode()
    # The engine's Python side cuts a text at NUL, which would hide what follows.
    content = base64.urlsafe_b64decode(token.split(".")[1] + "==").replace(b"\\u0000", b"\\u0001")
    claims = json.loads(content)
    return evaluated(exported["provider"]["attribute_condition"], assertion=claims)


NO_TYPES = {"oemid 11129.0", "support_attributes {'STABLE': True}"}
"""A condition knows no types of JSON, and Google signs neither of these."""
ASKED = [
    each
    for each in (*hostile_claims.HOSTILE, *hostile_image.HOSTILE)
    if each.check not in UNASKED and each.name not in NO_TYPES
]


@pytest.mark.parametrize("hostile", ASKED, ids=lambda each: f"{each.check}: {each.name}")
def test_what_an_appraisal_refuses_the_condition_refuses(hostile: Hostile) -> None:
    """Or nothing is exported at all: then no key is released either."""
    try:
        assert not admitted(hostile.bad())
    except Permanent:
        assert hostile.check in NOT_EXPORTED
    assert admitted(hostile.twin())


def test_google_s_own_tokens() -> None:
    """The production token meets the condition of the policy that fits it; the debug ones do not, for being debug."""
    assert admitted(test_real.production())
    for name in ("debug-sev-oidc.jwt", "debug-sev-oidc-nonce.jwt"):
        inputs = test_real.debug(name)
        assert not admitted(inputs)
        claims = json.loads(base64.urlsafe_b64decode(str(inputs.token).split(".")[1] + "=="))
        claims["dbgstat"] = "disabled-since-boot"
        claims["submods"]["confidential_space"]["support_attributes"] = ["STABLE"]
        condition = federation.export(inputs.policy, [], inputs.now)["provider"]["attribute_condition"]
        assert evaluated(condition, assertion=claims)


def test_there_are_enough_of_them() -> None:
    assert len(ASKED) > 200


def test_a_number_may_be_read_as_a_double_or_an_int() -> None:
    """The token service reads JSON numbers in its own way."""
    condition = federation.export(forge.policy(), [forge.reference()], NOW)["provider"]["attribute_condition"]
    for number in (11129, 11129.0):
        assert evaluated(condition, assertion={**forge.claims(), "oemid": number})
    for number in (11129.5, 11128, "11129"):
        assert not evaluated(condition, assertion={**forge.claims(), "oemid": number})


def without_overrides(content: dict[str, Any]) -> None:
    del content["submods"]["container"]["env_override"]


def test_absent_overrides_are_no_failure() -> None:
    claims = forge.claims(without_overrides)
    for policy in (forge.policy(), forge.policy_with(env_overrides={})):
        condition = federation.export(policy, [forge.reference()], NOW)["provider"]["attribute_condition"]
        assert evaluated(condition, assertion=claims)
    assert not evaluated(condition, assertion=forge.claims())
    put(claims, "submods/container/env_override", {})
    put(claims, "submods/container/cmd_override", [])
    assert evaluated(condition, assertion=claims)


def test_without_signers_nobody_need_sign_and_monitoring_may_be_allowed() -> None:
    policy = forge.policy_with(signers=None, memory_monitoring="allowed", zones=None)
    condition = federation.export(policy, [forge.reference()], NOW)["provider"]["attribute_condition"]
    claims = forge.claims()
    del claims["submods"]["container"]["image_signatures"]
    put(claims, "submods/gce/zone", "europe-west4-a")
    for memory, admitted in ((True, True), (False, True), ("true", False), (None, False)):
        put(claims, "submods/confidential_space/monitoring_enabled", {"memory": memory})
        assert evaluated(condition, assertion=claims) == admitted


def test_each_image_has_its_own_configuration_and_arguments() -> None:
    """The digest of one with the configuration of another is neither."""
    config = json.dumps({"config": {"Entrypoint": ["java", "-jar", "aggregator_application.jar"]}})
    second = {
        "manifest": sha256(b"2"),
        "config": sha256(config.encode()),
        "config_json": config,
        "revision": "2",
    }
    both = [forge.reference(), forge.reference(**second)]
    condition = federation.export(forge.policy(), both, NOW)["provider"]["attribute_condition"]
    claims = forge.claims()
    for digest, config_digest, admitted in (
        (MANIFEST, forge.CONFIG_DIGEST, True),
        (second["manifest"], second["config"], True),
        (MANIFEST, second["config"], False),
        (second["manifest"], forge.CONFIG_DIGEST, False),
    ):
        put(claims, "submods/container/image_digest", digest)
        put(claims, "submods/container/image_id", config_digest)
        assert evaluated(condition, assertion=claims) == admitted


# --- strings


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\0")))
def test_any_text_is_itself(text: str) -> None:
    written = cel.literal(text)
    assert evaluated(f"x == {written}", x=text)
    assert written.isascii()
    assert "$" not in written
    assert "%" not in written


@pytest.mark.parametrize(
    "text",
    ["' || true || '", "\\", "\\'", "'''", '"', "${file('/etc/passwd')}", "%{if true}", "\n", "🦆"],
)
def test_a_text_cannot_leave_its_quotes(text: str) -> None:
    assert not evaluated(f"x == {cel.literal(text)}", x="other")
    assert evaluated(f"x == {cel.literal(text)}", x=text)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(Permanent, match="half a character"):
        cel.literal("\ud800")


# --- patterns: Python's meaning and RE2's

SAME = [
    "[a-z ]{0,40}",
    "(--[a-z_]+=[A-Za-z0-9_./:-]{1,50} ?){0,20}",
    r"\d{3}|x+?y*",
    "a|b",
    "a|b|",
    "^a$",
    r"[A-Za-z0-9._:-]{1,200}",
    r"(?:\w+\.)*\w+",
    r"[^a-z\d]+",
    r"\W\D",
    ".*",
    r"\$\{x\}",
    "x{2,}",
    "x{1,900}y{1,900}|((x{10}){10}){10}",
]
SAMPLES = [
    "", "a", "b", "ab", "a\n", "\na", "a b", "x" * 300, "xy", "123", "1234",
    "١٢٣", "é", "${x}", "--a=b --c=d ", "--a=b;",
    "a.b.c", "a.b.", "A", "é!", "  ", "xx", "x\ty", "aB", "K", "a" * 40, "a" * 41,
]  # fmt: skip


@pytest.mark.parametrize("regular", SAME)
def test_a_pattern_means_the_same_in_both(regular: str) -> None:
    import re

    for sample in SAMPLES:
        wanted = re.fullmatch(regular, sample, re.ASCII) is not None
        assert evaluated(f"x.matches({cel.pattern('X', regular)})", x=sample) == wanted, sample


@pytest.mark.parametrize(
    "regular",
    [
        "(?=a)a",
        "(?!a)b",
        "(?<=a)b",
        "(?i)k",
        "(?P<n>a)",
        "(?P<n>a)(?P=n)",
        r"(a)\1",
        r"\Aa\Z",
        r"\ba\b",
        r"\s+",
        r"\x41",
        "a{,3}",
        "a{",
        "a*+",
        "a++",
        "[[:alpha:]]",
        "[]a]",
        "é",
        "(?>a)",
        "(?#x)a",
        "a{2000}",
        "(a{1,200}){0,20}",
        "((a{1,20})?|b{1001}){20}",
        "(((a{11}){10})*){10}",
    ],
)
def test_a_pattern_that_both_do_not_read_alike_is_not_exported(regular: str) -> None:
    with pytest.raises(Permanent, match="The pattern for X"):
        cel.pattern("X", regular)


@given(
    st.text(alphabet="ab01-.|()[]{},?*+^$\\dwDW: ", max_size=12), st.text(alphabet="ab01-. \n", max_size=6)
)
def test_no_pattern_that_is_exported_admits_more(regular: str, sample: str) -> None:
    import re
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compiled = re.compile(regular, re.ASCII)  # the policy's own condition
            written = cel.pattern("X", regular)
        except (re.error, Permanent, OverflowError):
            return
    assert evaluated(f"x.matches({written})", x=sample) == (compiled.fullmatch(sample) is not None)


# --- the whole export


def exported(references: list[ReferenceValue] | None = None, **more: Any) -> dict[str, Any]:
    given = [forge.reference()] if references is None else references
    return federation.export(forge.policy(), given, NOW, **more)


def test_it_names_who_gets_the_key() -> None:
    found = exported(project_number="123456789012", pool="data-services")
    assert found["provider"]["oidc"] == {
        "issuer_uri": "https://confidentialcomputing.googleapis.com/",
        "allowed_audiences": ["https://sts.googleapis.com"],
    }
    (image,) = found["images"]
    assert image["principal_set"] == (
        "principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/data-services/"
        f"attribute.image_digest/{MANIFEST}"
    )
    assert image["builders"] == ["https://builders.example/a", "https://builders.example/b"]
    # NOW + 100,000 s (date -ud @1790100000)
    assert image["condition"]["expression"] == "request.time < timestamp('2026-09-22T18:00:00Z')"
    assert evaluated("timestamp('2026-09-22T17:59:59Z') < timestamp('2026-09-22T18:00:00Z')")
    assert found["policy"] == forge.policy().digest
    assert found["references"] == [forge.reference().digest]


def test_the_mapping_gives_the_attributes() -> None:
    mapping = exported()["provider"]["attribute_mapping"]
    claims = forge.claims()
    assert evaluated(f"({mapping['attribute.image_digest']}) == x", assertion=claims, x=MANIFEST)
    subject = f"gcpcs::{MANIFEST}::123456789012::3087957179640521392"
    assert evaluated(f"({mapping['google.subject']}) == x", assertion=claims, x=subject)
    assert len(subject) <= 127


def test_an_index_has_a_principal_set_of_its_own() -> None:
    found = exported([forge.reference(index=INDEX)], project_number="1", pool="pool")
    assert [each["image_digest"] for each in found["images"]] == sorted([INDEX, MANIFEST])
    assert all(each["principal_set"].endswith(each["image_digest"]) for each in found["images"])


def test_the_same_for_the_same_in_any_order() -> None:
    second = forge.reference(manifest=sha256(b"2"), revision="2", index=INDEX)
    both = [forge.reference(), second]
    assert (
        json.dumps(exported(both)) == json.dumps(exported(both[::-1])) == json.dumps(exported([*both, *both]))
    )


def test_pinned_digests_need_no_reference_value() -> None:
    inputs = hostile_image.pinned()
    found = federation.export(inputs.policy, [], NOW)
    assert [each["image_digest"] for each in found["images"]] == [MANIFEST]
    assert "condition" not in found["images"][0]
    with pytest.raises(Permanent, match="pins digests itself"):
        federation.export(inputs.policy, [forge.reference()], NOW)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([], "No reference value"),
        ([{"image": "collector"}], "another image than the policy's"),
        ([{"state": "disputed", "reason": "a says x"}], "is disputed: a says x"),
        ([{}, {"state": "revoked", "manifest": sha256(b"2")}], "is revoked"),
        ([{"expires": NOW}], "not in force"),
        ([{"agreed": NOW + 1}], "not in force"),
        ([{"builders": ["https://a.example/", "https://a.example/"]}], "1 builders; 2 are needed"),
        ([{"threshold": 3}], "3 are needed"),
        ([{}, {"manifest": sha256(b"2")}], "is contradicted"),
    ],
)
def test_what_is_not_exported(changes: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(Permanent, match=said):
        exported([forge.reference(**each) for each in changes])


@pytest.mark.parametrize(
    ("number", "pool"),
    [
        ("dmz-inner", "pool"),
        ("", "pool"),
        ("1", ""),
        ("1", "gcp-pool"),
        ("1", "a/b-c"),
        ("1", "Pool"),
        ("1", "pool\n"),
        ("01", "pool"),
    ],
)
def test_what_is_no_pool(number: str, pool: str) -> None:
    with pytest.raises(Permanent, match="is no p"):
        exported(project_number=number, pool=pool)


def test_another_issuer_has_no_pool() -> None:
    with pytest.raises(Permanent, match="a pool trusts"):
        federation.export(forge.policy_with(issuer="https://issuer.local"), [forge.reference()], NOW)


def test_a_condition_too_long_for_google() -> None:
    many = [forge.reference(manifest=sha256(bytes([n])), revision=str(n)) for n in range(30)]
    with pytest.raises(Permanent, match="Google takes 4096"):
        exported(many)


def test_no_image_is_no_condition() -> None:
    with pytest.raises(Permanent, match="no image"):
        cel.condition(forge.policy(), [])


def test_the_example_policies_can_be_exported() -> None:
    for name in ("aggregator", "pinned"):
        policy = find(name)
        given = [forge.reference(image=policy.image)] if policy.reference.rule == "reference" else []
        assert federation.export(policy, given, NOW)["provider"]["attribute_condition"]
