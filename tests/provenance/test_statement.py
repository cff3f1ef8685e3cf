"""Statements: the same build gives the same bytes, what is written is read, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.appraisal import statement
from shared.appraisal.dsse import MAX_PAYLOAD
from shared.errors import Permanent
from shared.model.value import sha256
from tests.provenance.makers import ALICE, CONFIG, NOW, REVISION, built, lock, payload


def test_a_statement_says_what_was_built() -> None:
    made = payload()
    found = statement.read(made)
    assert found.source == ("pets", REVISION, lock().digest)
    assert (found.manifest, found.config) == (sha256(b"image"), sha256(CONFIG.encode()))
    assert (found.builder, found.codec, found.finished) == (ALICE, "gzip", NOW - 10)
    assert found.statement == sha256(made)


def test_it_has_the_shape_of_the_specifications() -> None:
    """in-toto Statement v1 and SLSA provenance v1, field by field as other tools look for them."""
    made = json.loads(payload())
    assert made["_type"] == "https://in-toto.io/Statement/v1"
    assert made["predicateType"] == "https://slsa.dev/provenance/v1"
    assert made["subject"] == [{"name": "pets", "digest": {"sha256": sha256(b"image")[7:]}}]
    definition, run = made["predicate"]["buildDefinition"], made["predicate"]["runDetails"]
    assert definition["buildType"] == statement.BUILD_TYPE
    assert definition["resolvedDependencies"][1] == {
        "name": "w1",
        "uri": "https://files.example/w1-1.0-py3-none-any.whl",
        "digest": {"sha256": sha256(b"wheel 1")[7:]},
    }
    assert run["builder"] == {"id": ALICE}
    assert run["metadata"] == {"startedOn": "2027-01-15T07:58:50Z", "finishedOn": "2027-01-15T07:59:50Z"}


def test_the_order_of_a_lock_is_not_in_the_statement() -> None:
    of = lock(inputs=5)
    turned = of.model_copy(update={"inputs": of.inputs[::-1]})
    first, second = (json.loads(payload(of=each)) for each in (of, turned))
    for each in (first, second):
        each["predicate"]["buildDefinition"]["externalParameters"].pop("lock")
    assert first == second


def test_the_lock_is_the_one_that_was_built_from() -> None:
    with pytest.raises(Permanent, match="not from the given lock"):
        statement.statement(built(), lock(inputs=3), REVISION, ALICE, started=0, finished=1)


@pytest.mark.parametrize(
    ("revision", "builder"), [("", ALICE), ("a b", ALICE), (REVISION, "alice"), (REVISION, "")]
)
def test_nothing_is_stated_that_nobody_would_read(revision: str, builder: str) -> None:
    with pytest.raises(Permanent, match="not valid"):
        statement.statement(built(), lock(), revision, builder, started=0, finished=1)


def test_a_lock_of_a_whole_system_fits() -> None:
    assert len(payload(of=lock(inputs=500))) < MAX_PAYLOAD
    with pytest.raises(Permanent, match="at most"):
        payload(of=lock(inputs=3000))


def changed(*path: Any, to: Any) -> bytes:
    made = json.loads(payload())
    at = made
    for part in path[:-1]:
        at = at[part]
    if to is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return json.dumps(made).encode()


DEFINITION, RUN = ("predicate", "buildDefinition"), ("predicate", "runDetails")
ASKED, META = (*DEFINITION, "externalParameters"), (*RUN, "metadata")
REFUSED: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "another statement type": (("_type",), "https://in-toto.io/Statement/v0.1", "_type"),
    "no statement type": (("_type",), ..., "_type is missing"),
    "a field by its Python name": (("type",), "https://in-toto.io/Statement/v1", "no such field"),
    "another predicate": (("predicateType",), "https://slsa.dev/provenance/v0.2", "predicateType"),
    "no subject": (("subject",), [], "subject"),
    "two subjects": (("subject",), json.loads(payload())["subject"] * 2, "subject"),
    "another subject": (("subject", 0, "name"), "cats", "about the image cats"),
    "a subject by another hash": (("subject", 0, "digest"), {"sha512": "0" * 128}, "sha256 is missing"),
    "a subject by two hashes": (("subject", 0, "digest", "sha1"), "0" * 40, "no such field"),
    "a digest with its prefix": (("subject", 0, "digest", "sha256"), sha256(b"image"), "sha256"),
    "a digest in capitals": (("subject", 0, "digest", "sha256"), "A" * 64, "sha256"),
    "a digest with a line break": (("subject", 0, "digest", "sha256"), "a" * 64 + "\n", "sha256"),
    "another build type": ((*DEFINITION, "buildType"), "https://example.com/other", "buildType"),
    "an internal parameter": ((*DEFINITION, "internalParameters"), {}, "no such field"),
    "a parameter more": ((*ASKED, "flags"), "-O0", "no such field"),
    "no revision": ((*ASKED, "revision"), "", "revision"),
    "no lock": ((*ASKED, "lock"), ..., "lock is missing"),
    "a codec that is none": ((*ASKED, "codec"), "lzma", "codec"),
    "a builder that is no URI": ((*RUN, "builder", "id"), "alice", "builder.id"),
    "a builder with a version": ((*RUN, "builder", "version"), {}, "no such field"),
    "no configuration": ((*RUN, "byproducts"), [], "byproducts"),
    "another by-product": ((*RUN, "byproducts", 0, "name"), "log", "byproducts.0.name"),
    "a time with a zone": ((*META, "finishedOn"), "2027-01-15T07:59:50+00:00", "finishedOn"),
    "a time that is none": ((*META, "finishedOn"), "2027-02-30T07:59:50Z", "no calendar"),
    "a time before time": ((*META, "startedOn"), "1969-02-03T07:59:50Z", "after 1970"),
    "a time that is a number": ((*META, "finishedOn"), NOW, "finishedOn"),
    "an end before the beginning": ((*META, "finishedOn"), "2027-01-15T07:58:49Z", "before it began"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_read(case: str) -> None:
    path, to, said = REFUSED[case]
    with pytest.raises(Permanent, match=said):
        statement.read(changed(*path, to=to))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda made: made[:-1] + b',"predicateType":"https://slsa.dev/provenance/v1"}', "twice"),
        (lambda made: made + b"{}", "not valid"),
        (lambda made: b"\xef\xbb\xbf" + made, "not valid"),
        (lambda made: made.decode().encode("utf-16"), "not valid"),
        (lambda made: made + b" " * MAX_PAYLOAD, "at most"),
    ],
)
def test_bytes_that_are_read_in_two_ways(spoil: Callable[[bytes], bytes], said: str) -> None:
    with pytest.raises(Permanent, match=said):
        statement.read(spoil(payload()))
