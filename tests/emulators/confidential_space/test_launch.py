"""A workload from instances.insert to its end: what it sees, what its token says."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from shared.emulators.confidential_space.claims import DEFAULT_AUDIENCE
from tests.emulators.confidential_space.conftest import (
    REFERENCE,
    SERVICE,
    ZONE_PATH,
    Make,
    claims_of,
    header_of,
    request,
    said,
)

ASK = {"audience": "https://appraiser.example", "token_type": "OIDC", "nonces": ["0123456789abcdef"]}
SERIAL = {"tee-container-log-redirect": "serial"}


def test_a_workload_gets_a_token_that_says_what_runs(space: Make) -> None:
    running = space(
        f"""
say(tee("POST", "/v1/token", {ASK!r}))
say(dict(os.environ))
say([os.getuid(), os.getcwd(), sys.argv, os.path.exists("/home"), socket.gethostname()])
say(open("/run/container_launcher/attestation_verifier_claims_token").read())
"""
    )
    running.insert(request(**SERIAL))
    (status, token), environment, seen, default = said(running.console())
    running.status("TERMINATED")
    assert status == 200
    claims = claims_of(token)
    assert header_of(token)["kid"] in {
        key["kid"]
        for key in running.issuer.get(
            "/service_accounts/v1/metadata/jwk/signer@confidentialspace-sign.iam.gserviceaccount.com"
        ).json()["keys"]
    }
    index = json.loads((running.directory / "image" / "index.json").read_text())
    digest = index["manifests"][0]["digest"]
    manifest = json.loads(
        (running.directory / "image" / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_text()
    )
    assert claims["submods"]["container"] == {
        "image_reference": REFERENCE,
        "image_digest": digest,
        "restart_policy": "Never",
        "image_id": manifest["config"]["digest"],
        "env": {"GREETING": "hello", "HOSTNAME": "sample", "PATH": "/usr/local/bin:/usr/bin:/bin"},
        "args": ["/usr/bin/python3", "-I", "/app/main.py"],
    }
    assert environment == {
        **claims["submods"]["container"]["env"],
        "HOME": "/root",
        **{name: environment[name] for name in environment if name == "LC_CTYPE"},
    }
    assert seen == [0, "/", ["/app/main.py"], False, "sample"]
    assert claims["aud"], claims["eat_nonce"] == ("https://appraiser.example", "0123456789abcdef")
    assert claims["google_service_accounts"] == [SERVICE]
    assert claims_of(default)["aud"] == DEFAULT_AUDIENCE
    assert "eat_nonce" not in claims_of(default)


def test_ports_that_the_image_exposes_answer_on_the_address_of_the_instance(space: Make) -> None:
    running = space(
        """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"served " + self.path.encode())
server = HTTPServer(("0.0.0.0", 8080), Handler)
say("up")
server.serve_forever()
""",
        config_={"ExposedPorts": {"8080/tcp": {}}},
    )
    running.insert(request(**SERIAL))
    running.console("SAID")
    instance = running.instance()
    address = instance["networkInterfaces"][0]["networkIP"]
    assert address.startswith("127.")
    assert httpx.get(f"http://{address}:{instance['localPorts']['8080']}/x").text == "served /x"
    operation = running.api.delete(f"{ZONE_PATH}/instances/sample").json()
    done = running.api.post(f"{ZONE_PATH}/operations/{operation['name']}/wait", timeout=30).json()
    assert done["status"] == "DONE"
    assert "error" not in done
    assert running.api.get(f"{ZONE_PATH}/instances/sample").status_code == 404
    assert not Path(running.directory / "state" / "vms" / "sample").exists()
