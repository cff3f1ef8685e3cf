"""The launcher's server in the container: /run/container_launcher/teeserver.sock.

Source: launcher/teeserver/tee_server.go of go-tpm-tools (endpoints, methods, sentences, text/html) and the attestation
service's API for the limits (https://cloud.google.com/confidential-computing/confidential-space/docs/reference/rest):
an audience of at most 512 bytes, at most six nonces of 10 to 74 bytes each. Checks of POST /v1/token, in this order:
1. a JSON object with audience, nonces, token_type and aws_principal_tag_options, nothing else;
2. a custom audience: the default token has GET;
3. a token type: OIDC or PKI (the AWS profiles are not imitated);
4. the limits above.
Answers are not JSON on Google Cloud either: the token alone, or a sentence.
"""

import json
import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.emulators.confidential_space.claims import DEFAULT_AUDIENCE
from shared.emulators.vm import http1
from shared.emulators.vm.listen import Listeners

SOCKET = "teeserver.sock"
_TOKEN, _ITA, _EVIDENCE = "/v1/token", "/v1/intel/token", "/v1/evidence"
_OFF = {
    "/v1/keys:getEndorsement": "keymanager not enabled",
    "/v1/hostAttestation": "host attestation not enabled",
}
_BODY_LIMIT = 2**20
_AUDIENCE_LIMIT, _NONCES_LIMIT, _NONCE_SIZES = 512, 6, (10, 74)
_FIELDS = {"audience": str, "nonces": list, "token_type": str, "aws_principal_tag_options": dict}
_log = logging.getLogger(__name__)

Attest = Callable[[str, Sequence[str], str], str]
"""Audience, nonces and OIDC or PKI to a token."""


class _Error(Exception):
    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class TokenOptions:
    audience: str
    nonces: tuple[str, ...]
    kind: str


class TeeServer:
    """Serves the socket in `directory` until `close`. `say` takes a line for the serial console."""

    def __init__(self, directory: Path, attest: Attest, say: Callable[[str], None]) -> None:
        self._attest, self._say = attest, say
        self._listeners = Listeners("teeserver")
        listener = socket.socket(socket.AF_UNIX)
        # A socket's path has at most 107 bytes (unix(7)); the state directory's may be longer.
        held = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        try:
            listener.bind(f"/proc/self/fd/{held}/{SOCKET}")
        finally:
            os.close(held)
        (directory / SOCKET).chmod(0o777)
        listener.listen(64)
        self._listeners.tcp(listener, self._serve)
        self._listeners.start()

    def close(self) -> None:
        self._listeners.close()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(http1.IDLE_SECONDS)
        with suppress(ConnectionError, TimeoutError):
            _Exchange(connection, ("container", 0), self._answer)  # type: ignore[arg-type]

    def _answer(self, exchange: http1.Exchange) -> None:
        path = exchange.path.partition("?")[0]
        try:
            code, said = 200, self._answered(path, exchange)
        except _Error as error:
            code, said = error.code, str(error)
            self._say(said)
        exchange.reply(code, said.encode(), "text/html")

    def _answered(self, path: str, exchange: http1.Exchange) -> str:
        body = exchange.read_body(_BODY_LIMIT)
        if path == _TOKEN:
            self._say(f"{path} called")
            return self._token(exchange.command, body)
        if path == _ITA:
            raise _Error(
                500, "no ITA verifier client present - ensure ITA Region and Key are defined in metadata"
            )
        if path == _EVIDENCE:
            raise _Error(500, "raw attestation evidence needs a TPM, and this machine stands for one")
        if path in _OFF:
            raise _Error(403, _OFF[path])
        raise _Error(404, "404 page not found\n")

    def _token(self, method: str, body: bytes) -> str:
        if method == "GET":
            return self._attest(DEFAULT_AUDIENCE, (), "OIDC")
        if method != "POST":
            raise _Error(400, f"TEE server received an invalid HTTP method: {method}")
        options = token_options(body)
        return self._attest(options.audience, options.nonces, options.kind)


def token_options(body: bytes) -> TokenOptions:
    """Of one POST; raises what is answered."""
    raw = _object(body)  # check 1
    if not raw.get("audience"):  # check 2
        raise _Error(400, "use GET request for the default identity token")
    if not raw.get("token_type"):  # check 3
        raise _Error(400, "token_type is a required parameter")
    if raw["token_type"] not in ("OIDC", "PKI"):
        raise _invalid(f"the token type {raw['token_type'][:40]!r} is not served here; use OIDC or PKI")
    nonces = tuple(raw.get("nonces") or ())
    if len(raw["audience"].encode()) > _AUDIENCE_LIMIT:  # check 4
        raise _invalid(f"the audience is longer than {_AUDIENCE_LIMIT} bytes")
    if len(nonces) > _NONCES_LIMIT:
        raise _invalid(f"{len(nonces)} nonces are given; the maximum is {_NONCES_LIMIT}")
    least, most = _NONCE_SIZES
    if any(not least <= len(nonce.encode()) <= most for nonce in nonces):
        raise _invalid(f"each nonce must be between {least} and {most} bytes")
    return TokenOptions(raw["audience"], nonces, raw["token_type"])


def _object(body: bytes) -> dict[str, Any]:
    refusal = "failed to parse POST body as TokenOptions: "
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _Error(400, f"{refusal}{error if body else 'EOF'}") from None
    if not isinstance(raw, dict):
        raise _Error(400, f"{refusal}json: cannot unmarshal into Go value of type models.TokenOptions")
    for name, value in raw.items():
        if name not in _FIELDS:
            raise _Error(400, f'{refusal}json: unknown field "{name[:100]}"')
        is_list = name == "nonces" and isinstance(value, list)
        if value is not None and (
            type(value) is not _FIELDS[name]
            or (is_list and not all(isinstance(nonce, str) for nonce in value))
        ):
            raise _Error(400, f"{refusal}json: cannot unmarshal into Go struct field TokenOptions.{name}")
    for text in (raw.get("audience"), *(raw.get("nonces") or ())):
        try:
            (text or "").encode()
        except UnicodeEncodeError:
            raise _Error(400, f"{refusal}invalid character in a string") from None
    return raw


def _invalid(why: str) -> _Error:
    """As the attestation service's refusal comes through the launcher."""
    said = "failed to retrieve custom attestation service token: rpc error: code = InvalidArgument desc = "
    return _Error(400, f"{said}{why}")


class _Exchange(http1.Exchange):
    disable_nagle_algorithm = False  # a unix socket has none
    server_version = "Go-http-server"
