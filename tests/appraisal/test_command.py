"""`./dmz appraise`: exit codes, JSON on standard output, one sentence on standard error."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding

from functions.ctl.cli import main
from tests.appraisal import forge
from tests.appraisal.test_real import DATA, NONCE

AT = "2026-09-21T14:13:20Z"
REAL = ["--token", str(DATA / "production-tdx-pki.jwt"), "--policy", "pinned", "--nonce", NONCE]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """policy.yaml, token, pki, root.pem, jwks.json, reference.json."""
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(forge.POLICY))
    (tmp_path / "token").write_text(forge.oidc() + "\n")
    (tmp_path / "pki").write_text(forge.pki())
    root = forge.certificate(forge.root(), forge.root())
    (tmp_path / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    listed = [
        {"kid": key.kid, "kty": "RSA", "use": "sig", "alg": "RS256", "n": key.n, "e": "AQAB"}
        for key in forge.keys().oidc
    ]
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": listed}))
    (tmp_path / "reference.json").write_bytes(forge.reference().canonical())
    return tmp_path


def words(files: Path, **changes: str | None) -> list[str]:
    options: dict[str, str | None] = {
        "policy": str(files / "policy.yaml"),
        "token": str(files / "token"),
        "jwks": str(files / "jwks.json"),
        "reference": str(files / "reference.json"),
        "at": AT,
        "nonce": forge.NONCE,
        **changes,
    }
    given = [(f"--{name}", value) for name, value in options.items() if value is not None]
    return ["appraise", *(word for pair in given for word in pair)]


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_an_oidc_token(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(files)) == 0
    found = answer(capsys)
    assert found["decision"] == "accepted"
    assert found["summary"]["predicate"]["verificationResult"] == "PASSED"
    assert len(found["checks"]) == 47


def test_a_pki_token_by_a_root_of_ones_own(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(files, token=str(files / "pki"), jwks=None, root=str(files / "root.pem"))) == 0
    assert answer(capsys)["token_type"] == "PKI"


def test_a_pki_token_by_googles_root_unless_another_is_given(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(files, token=str(files / "pki"), jwks=None)) == 1
    failed = [check["name"] for check in answer(capsys)["checks"] if check["answer"] == "failed"]
    assert failed == ["pinned root"]


def test_googles_own_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["appraise", *REAL, "--at", "2025-09-05T08:20:00Z"]) == 0
    assert answer(capsys)["decision"] == "accepted"
    assert main(["appraise", *REAL]) == 1
    failed = [check["name"] for check in answer(capsys)["checks"] if check["answer"] == "failed"]
    assert failed == ["chain validity"]


def test_from_standard_input(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(forge.oidc().encode() + b"\r\n")))
    assert main(words(files, token="-")) == 0
    assert answer(capsys)["decision"] == "accepted"


def test_a_list_of_references(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    several = [forge.reference(image="collector"), forge.reference()]
    (files / "reference.json").write_text(json.dumps([each.model_dump(mode="json") for each in several]))
    assert main(words(files)) == 0
    answer(capsys)


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"nonce": None}, ["nonce"]),
        ({"nonce": "another nonce"}, ["nonce"]),
        ({"at": "2026-09-21T15:14:20Z"}, ["current", "age"]),
        ({"at": "2026-09-21T16:13:20+02:00"}, []),
        ({"reference": None}, ["image digest"]),
    ],
    ids=str,
)
def test_refusals(
    files: Path, changes: dict[str, str], failed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(files, **changes)) == (1 if failed else 0)
    assert [check["name"] for check in answer(capsys)["checks"] if check["answer"] == "failed"] == failed


def test_garbage_is_a_refused_token_and_no_unusable_input(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in (b"garbage", b"\xff\xfe", b"a.b.c", b"x" * 100_000, forge.oidc().encode() + b"\n\n"):
        (files / "token").write_bytes(text)
        assert main(words(files)) == 1
        assert answer(capsys)["decision"] == "refused"


def test_the_token_is_not_printed(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(words(files))
    out, _ = capsys.readouterr()
    for part in (files / "token").read_text().strip().split("."):
        assert part[:40] not in out


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"policy": "nothing"}, "There is no appraisal policy 'nothing'"),
        ({"policy": "FILES/absent.yaml"}, "cannot be read: No such file"),
        ({"policy": "FILES/token"}, "is not YAML|must be a mapping"),
        ({"token": "FILES/absent"}, "cannot be read: No such file"),
        ({"token": "FILES"}, "cannot be read: Is a directory"),
        ({"token": "FILES/empty"}, "The token is empty"),
        ({"jwks": None}, "give the issuer's key set with --jwks"),
        ({"jwks": "FILES/root.pem"}, "does not begin with an object"),
        ({"jwks": "FILES/absent"}, "cannot be read: No such file"),
        (
            {"jwks": None, "token": "FILES/pki", "root": "FILES/jwks.json"},
            "must hold one certificate in PEM form",
        ),
        ({"reference": "FILES/jwks.json"}, "The reference value .* is not valid"),
        ({"reference": "FILES/list.json"}, "is an empty list"),
        ({"reference": "FILES/root.pem"}, "The reference value .* is not valid"),
        ({"at": "yesterday"}, "is no RFC 3339 time"),
        ({"at": "2026-09-21"}, "is no RFC 3339 time"),
        ({"at": "2026-09-21T14:13:20"}, "is no RFC 3339 time"),
        ({"at": "1960-01-01T00:00:00Z"}, "lies before 1970"),
    ],
    ids=str,
)
def test_unusable_input(
    files: Path, changes: dict[str, str | None], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "empty").write_text("\n")
    (files / "list.json").write_text("[]")
    given = {name: value and value.replace("FILES", str(files)) for name, value in changes.items()}
    assert main(words(files, **given)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("dmz: ")
    assert re.search(sentence, err), err


@pytest.mark.parametrize("given", [[], ["--policy", "pinned"], ["--jwks", "a", "--root", "b"]], ids=str)
def test_missing_options(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["appraise", *given])
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
