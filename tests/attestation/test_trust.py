"""Whom the stage believes: what settings name, and one sentence for each way in which that is wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared import trust
from shared.appraisal.keys import GOOGLE_ROOT
from shared.appraisal.signer import new_key
from shared.errors import Permanent, Transient
from shared.settings import Settings
from tests.appraisal import forge


def settings(**changes: str) -> Settings:
    return Settings(project="test", **changes)


@pytest.fixture
def issuer() -> Iterator[tuple[str, list[str]]]:
    """Address of a key set, and the paths that were asked for."""
    asked: list[str] = []
    keys = [
        {"kid": each.kid, "kty": "RSA", "use": "sig", "alg": "RS256", "n": each.n, "e": "AQAB"}
        for each in forge.keys().oidc
    ]

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = forge.dumps({"keys": keys})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/jwks", asked
    server.shutdown()
    server.server_close()


def test_an_oidc_token_is_held_to_the_issuers_key_set_and_a_pki_token_to_the_root(
    issuer: tuple[str, list[str]],
) -> None:
    address, asked = issuer
    keys = trust.keys(settings(attestation_keys=address))
    assert (keys(forge.pki()).oidc, asked) == ((), [])
    assert keys("no token at all").oidc == ()
    assert asked == []
    found = keys(forge.oidc())
    assert set(found.by_kid) == set(forge.keys().by_kid)
    assert found.roots == (GOOGLE_ROOT,)
    keys(forge.oidc())
    assert asked == ["/jwks"], "once, then from memory"


def test_an_issuer_that_does_not_answer_is_a_passing_trouble() -> None:
    keys = trust.keys(settings(attestation_keys="http://127.0.0.1:9/jwks"))
    with pytest.raises(Transient):
        keys(forge.oidc())
    assert keys(forge.pki()).roots == (GOOGLE_ROOT,)


def test_another_root_takes_the_place_of_googles(tmp_path: Path) -> None:
    path = tmp_path / "root.pem"
    with pytest.raises(Permanent, match=r"root certificate .*root\.pem cannot be read"):
        trust.keys(settings(attestation_root=str(path)))(forge.pki())
    path.write_text("nothing of the kind")
    with pytest.raises(Permanent, match="must hold one certificate in PEM form"):
        trust.keys(settings(attestation_root=str(path)))(forge.pki())


def test_policies_are_found_by_their_services_name(tmp_path: Path) -> None:
    policies = trust.policies(settings(appraisal_policies=str(tmp_path)))
    (tmp_path / "aggregator.yaml").write_text(yaml.safe_dump(forge.POLICY))
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(forge.POLICY))
    assert policies("aggregator") == forge.policy()
    with pytest.raises(Permanent, match="There is no data service 'collector': write its appraisal policy"):
        policies("collector")
    with pytest.raises(Permanent, match="is for the service aggregator; rename it"):
        policies("other")


def test_nothing_is_trusted_unless_somebody_said_so() -> None:
    with pytest.raises(Permanent, match="set DMZ_APPRAISAL_POLICIES"):
        trust.policies(settings())("aggregator")
    with pytest.raises(Permanent, match="set DMZ_BUILDERS"):
        trust.builders(settings())()
    assert trust.signer(settings()) is None


def test_the_signing_key_is_a_file_or_a_key_of_kms(tmp_path: Path) -> None:
    made = new_key(tmp_path / "key.pem")
    found = trust.signer(settings(attestation_signing_key=str(tmp_path / "key.pem")))
    assert found is not None
    assert found.key_id == made.key_id
    with pytest.raises(Permanent):
        trust.signer(settings(attestation_signing_key=str(tmp_path / "none.pem")))
    with pytest.raises(Permanent, match="gcpkms"):
        trust.signer(settings(attestation_signing_key="gcpkms://projects/p/keys/k"))
