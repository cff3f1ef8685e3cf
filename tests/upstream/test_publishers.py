"""Attestations: real ones, and every way in which one may be another's, or nobody's."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import Permanent
from shared.model.value import sha256
from shared.upstream import publishers
from shared.upstream.publishers import MAX_ATTESTATIONS, MAX_SIZE, ROOT, prove
from tests.upstream import attested
from tests.upstream.attested import CIRCLECI, GITHUB, GITLAB, GOOGLE, SLSA, Attested


def refused(one: Attested, served: bytes, words: str, root: Path = ROOT) -> None:
    with pytest.raises(Permanent, match=words) as error:
        prove(served, one.filename, one.sha256, root)
    assert "refused" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("one", attested.ALL, ids=lambda one: one.publisher.kind)
def test_real_attestations_prove_their_publisher(one: Attested, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    monkeypatch.setattr(socket.socket, "connect", nobody)
    publishers._verifier.cache_clear()
    assert prove(one.served, one.filename, one.sha256) == (one.publisher,)


def test_the_file_is_the_attested_one() -> None:
    assert sha256(attested.WHEEL) == CIRCLECI.sha256


def test_publication_and_build_of_one_file() -> None:
    served = GITHUB.of(*GITHUB.attestations(), SLSA)
    assert prove(served, GITHUB.filename, GITHUB.sha256) == (GITHUB.publisher,)
    assert attested.statement(SLSA)["predicateType"] == "https://slsa.dev/provenance/v1"


def test_two_spellings_of_one_name_are_one() -> None:
    assert prove(GITHUB.served, "PyPI-Attestations-0.0.19.tar.gz", GITHUB.sha256) == (GITHUB.publisher,)


def test_a_statement_of_a_kind_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishers, "_KINDS", publishers._KINDS[:1])
    served = GITHUB.of(*GITHUB.attestations(), SLSA)
    refused(GITHUB, served, "of an unknown kind, 'https://slsa.dev/provenance/v1'")


# --- attacks ---


def test_an_attestation_of_another_file() -> None:
    refused(GITHUB, GITHUB.of(*GITLAB.attestations()), "not that of the publisher whom it names")
    theirs = json.dumps(json.loads(GITLAB.served)).encode()
    refused(GITHUB, theirs, "about another file, 'gitlab_oidc_project-0.0.3.tar.gz'")


def test_an_attestation_of_other_bytes() -> None:
    with pytest.raises(Permanent, match=f"about other bytes, of sha256 {GITHUB.sha256[7:]}"):
        prove(GITHUB.served, GITHUB.filename, sha256(b"other bytes"))


def test_an_attestation_of_another_version() -> None:
    with pytest.raises(Permanent, match="about another file"):
        prove(GITHUB.served, "pypi_attestations-0.0.20.tar.gz", GITHUB.sha256)


@pytest.mark.parametrize(
    ("one", "claim"),
    [
        (GITHUB, {"repository": "trailofbits/pypi-attestation"}),
        (GITHUB, {"repository": "evil/pypi-attestations"}),
        (GITHUB, {"workflow": "other.yml"}),
        (GITHUB, {"workflow": "release.yml@refs/tags/v0.0.19"}),
        (GITHUB, {"kind": "GitLab", "workflow_filepath": "release.yml"}),
        (GITHUB, {"kind": "Google", "email": "someone@example.com"}),
        (GITLAB, {"workflow_filepath": "ci.yml"}),
        (GITLAB, {"repository": "evil/gitlab-oidc-project"}),
        (GOOGLE, {"email": "other@developer.gserviceaccount.com"}),
        (CIRCLECI, {"project_id": "00000000-0000-0000-0000-000000000000"}),
        (CIRCLECI, {"pipeline_definition_id": "00000000-0000-0000-0000-000000000000"}),
        (CIRCLECI, {"vcs_origin": "github.com/evil/project"}),
    ],
)
def test_a_publisher_whom_the_certificate_does_not_name(one: Attested, claim: dict[str, str]) -> None:
    refused(one, one.changed(**claim), "its signature is not that of the publisher whom it names")


def test_one_bad_attestation_among_good_ones() -> None:
    refused(GITHUB, GITHUB.of(*GITHUB.attestations(), *GITLAB.attestations()), "not that of the publisher")
    claim = json.loads(GITHUB.served)
    claim["attestation_bundles"] += json.loads(GITLAB.served)["attestation_bundles"]
    refused(GITHUB, json.dumps(claim).encode(), "about another file")


def _spoilt(place: str) -> bytes:
    (attestation,) = GITHUB.attestations()
    material, envelope = attestation["verification_material"], attestation["envelope"]
    entry = material["transparency_entries"][0]
    stranger = GITLAB.attestations()[0]
    match place:
        case "statement":
            said = attested.statement(attestation)
            said["subject"][0]["digest"]["sha256"] = "0" * 64
            envelope["statement"] = base64.b64encode(json.dumps(said).encode()).decode()
        case "signature":
            raw = bytearray(base64.b64decode(envelope["signature"]))
            raw[-1] ^= 1
            envelope["signature"] = base64.b64encode(raw).decode()
        case "certificate":
            material["certificate"] = stranger["verification_material"]["certificate"]
        case "certificate's bytes":
            material["certificate"] = base64.b64encode(b"no certificate").decode()
        case "log entry":
            material["transparency_entries"] = stranger["verification_material"]["transparency_entries"]
        case "time" | "hour":
            later = 60 if place == "time" else 3600  # within the certificate's ten minutes, and beyond
            entry["integratedTime"] = str(int(entry["integratedTime"]) + later)
        case "no promise and no proof":
            entry.pop("inclusionPromise", None)
            entry.pop("inclusionProof", None)
        case "garbled entry":
            material["transparency_entries"] = [{"logIndex": "many"}]
    return GITHUB.of(attestation)


@pytest.mark.parametrize(
    "place",
    [
        "statement",
        "signature",
        "certificate",
        "certificate's bytes",
        "log entry",
        "time",
        "hour",
        "no promise and no proof",
        "garbled entry",
    ],
)
def test_what_was_changed_after_it_was_signed(place: str) -> None:
    refused(GITHUB, _spoilt(place), "proves nothing")


def test_a_key_that_the_trusted_root_does_not_know(tmp_path: Path) -> None:
    """A rotated log, a rotated authority, another Sigstore: no root but the given one is believed."""
    parts = {"certificateAuthorities": "candidates exhausted", "ctlogs": "SCT", "tlogs": "invalid log entry"}
    for part, words in parts.items():
        root = json.loads(ROOT.read_text())
        others = [each for each in root[part] if "2025-1" in each.get("baseUrl", "")] or root[part][:1]
        path = tmp_path / f"{part}.json"
        path.write_text(json.dumps(root | {part: others}))
        refused(GITHUB, GITHUB.served, f"proves nothing.*{words}", path)


@pytest.mark.parametrize("text", ["", "{}", "[]", "no JSON", '{"mediaType": "x"}'])
def test_a_root_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "root.json"
    path.write_text(text)
    with pytest.raises(Permanent, match=r"root\.json is no trusted root of Sigstore"):
        prove(GITHUB.served, GITHUB.filename, GITHUB.sha256, path)
    with pytest.raises(Permanent, match=r"gone\.json is no trusted root of Sigstore"):
        prove(GITHUB.served, GITHUB.filename, GITHUB.sha256, tmp_path / "gone.json")


@pytest.mark.parametrize(
    ("served", "words"),
    [
        (b"", "is not valid"),
        (b"\xff\xfe", "is not valid"),
        (b"[]", "is not valid"),
        (b"<html></html>", "is not valid"),
        (b"[" * 100_000, "is not valid"),
        (GITHUB.served[:-300], "is not valid"),
        (GITHUB.served.replace(b'"version":1', b'"version":2'), "is not valid at"),
        (GITHUB.changed(kind="Nobody"), "is not valid at"),
        (b'{"version":1,"attestation_bundles":[]}', "without an attestation"),
        (GITHUB.of(), "without an attestation"),
        (b" " * (MAX_SIZE + 1), "more than 1048576 bytes"),
        (GITHUB.of(*GITHUB.attestations() * (MAX_ATTESTATIONS + 1)), "has 33 attestations"),
    ],
    ids=range(12),
)
def test_what_is_no_provenance(served: bytes, words: str) -> None:
    refused(GITHUB, served, words)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_change_of_a_byte_is_a_crash_or_another_publisher(data: st.DataObject) -> None:
    spoilt = bytearray(GITHUB.served)
    at = data.draw(st.integers(0, len(spoilt) - 1))
    spoilt[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        found = prove(bytes(spoilt), GITHUB.filename, GITHUB.sha256)
    except Permanent:
        return
    assert found == (GITHUB.publisher,)


# --- the library, the root ---


@pytest.mark.parametrize(
    "served",
    [GITHUB.served, GITHUB.changed(workflow="x.yml"), _spoilt("statement"), _spoilt("time")],
    ids=range(4),
)
def test_the_library_itself_says_the_same(
    served: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its verify() takes the root from a cache, so it is not what runs here; its answer must be ours all the same."""
    from pypi_attestations import AttestationError, Distribution, Provenance

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (bundle,) = Provenance.model_validate_json(served).attestation_bundles
    file = Distribution(name=GITHUB.filename, digest=GITHUB.sha256[7:])
    try:
        bundle.attestations[0].verify(bundle.publisher, file, offline=True)
    except AttestationError:
        theirs = False
    else:
        theirs = True
    try:
        prove(served, GITHUB.filename, GITHUB.sha256)
    except Permanent:
        ours = False
    else:
        ours = True
    assert ours == theirs == (served == GITHUB.served)


def test_the_root_has_every_key_of_the_pinned_library() -> None:
    """It may be newer, never older; and it is the one that its page names."""
    store = files("sigstore").joinpath("_store", "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev")
    theirs = _keys(json.loads(store.joinpath("trusted_root.json").read_text()))
    assert len(theirs) >= 8
    assert theirs <= _keys(json.loads(ROOT.read_text()))
    assert sha256(ROOT.read_bytes())[7:] in (ROOT.parent / "README.md").read_text()


def _keys(root: Any) -> set[str]:
    """Every key and certificate, wherever it stands."""
    if isinstance(root, dict):
        return {str(root["rawBytes"])} if "rawBytes" in root else _keys([*root.values()])
    return set().union(*map(_keys, root)) if isinstance(root, list) else set()


def test_who_meets_no_attestation_does_not_load_the_libraries() -> None:
    loaded = "sum(name.startswith(('sigstore', 'pypi_attestations', 'tuf')) for name in sys.modules)"
    code = f"import sys, functions.sync.main; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
