"""One repository of a registry over HTTP, as the OCI distribution specification has it: requests and their failures.

https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md. Failures are sorted into final and passing
ones; a passing one is tried again here, unless the request carries a stream.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import httpx
import orjson

from shared import patience
from shared.errors import Permanent, Transient
from shared.image.registry_auth import Login, RegistryClient, is_same_origin, read_all
from shared.image.registry_reference import Reference, is_loopback
from shared.model.value import printable
from shared.upstream import http

MANIFEST_LIMIT = 4 << 20
"""Bytes: what registries must take at least (spec, pushing manifests), and what most take at most."""
_SHORT = 1 << 16
_TIMEOUT = httpx.Timeout(120.0, connect=15.0)
_CONNECTIONS = 16
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_CODE = re.compile(r"[A-Z_]{1,40}", re.ASCII)


@dataclass(frozen=True)
class Answer:
    """An answer, with its whole body where it is short."""

    status: int
    headers: httpx.Headers
    body: bytes


class Wire:
    """Requests below `/v2/REPOSITORY/`; a context that closes its connections."""

    def __init__(
        self, reference: Reference, actions: str, login: Login | None, endpoint: str = "", attempts: int = 4
    ) -> None:
        """`actions`: `pull` or `pull,push`. `endpoint`: where the registry is reached, if not at its own name."""
        self.base = httpx.URL(endpoint or reference.base)
        local = is_loopback(self.base.host)
        if self.base.scheme != "https" and not local:
            raise Permanent(f"The registry {self.base} is reached without TLS and is not on this machine.")
        limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
        trust = http.trust() if self.base.scheme == "https" else False
        # Loopback is never behind a proxy; a transport of its own asks none.
        transport = httpx.HTTPTransport(verify=trust, limits=limits) if local else None
        self.client = RegistryClient(
            str(self.base),
            login,
            f"repository:{reference.repository}:{actions}",
            verify=trust,
            transport=transport,
            timeout=_TIMEOUT,
            limits=limits,
            headers={"User-Agent": "package-dmz"},
        )
        self._reference = reference
        self._attempts = attempts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def abort(self) -> None:
        """End what other threads have under way: their next read or write fails, and nothing is tried again."""
        self.client.is_ended = True

    def url(self, path: str) -> httpx.URL:
        """The address of `path` in the repository."""
        return self.base.copy_with(path=f"/v2/{self._reference.repository}/{path}")

    def located(self, answer: Answer) -> httpx.URL:
        """Where the registry says that an upload goes on. Permanent unless that is the registry itself."""
        given = answer.headers.get("location", "")
        try:
            url = self.base.join(given)
        except httpx.InvalidURL:
            url = httpx.URL()
        if not given or not is_same_origin(url, self.base):
            raise Permanent(
                f"{self._reference.host} sends an upload on to '{printable(given, 200)}', which is refused: it is not "
                "the registry itself."
            )
        return url

    def ask(
        self,
        method: str,
        url: httpx.URL,
        what: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        limit: int = _SHORT,
        tolerated: tuple[int, ...] = (),
    ) -> Answer:
        """A request that may be repeated. `what` begins a failure's sentence; `tolerated`: statuses that are none."""

        def once() -> Answer:
            answer = self._once(method, url, what, headers or {}, content, limit)
            if answer.status not in tolerated:
                check(answer, what, self._reference)
            return answer

        return patience.persist(once, self._attempts)

    def send(
        self,
        method: str,
        url: httpx.URL,
        what: str,
        headers: Mapping[str, str],
        content: Iterable[bytes],
        tolerated: tuple[int, ...] = (),
    ) -> Answer:
        """A request whose body is a stream, so that it is sent once; Transient also if our token has run out."""
        answer = self._once(method, url, what, headers, content, _SHORT)
        if answer.status == 401:
            raise Transient(f"{what} was not finished: the registry wants a new token.")
        if answer.status not in tolerated:
            check(answer, what, self._reference)
        return answer

    def _once(
        self,
        method: str,
        url: httpx.URL,
        what: str,
        headers: Mapping[str, str],
        content: bytes | Iterable[bytes],
        limit: int,
    ) -> Answer:
        try:
            request = self.client.build_request(method, url, headers=headers, content=content)
            response = self.client.send(request, stream=True)
            try:
                if response.is_redirect and method in ("GET", "HEAD"):
                    return self._followed(url, method, headers, limit)
                return Answer(response.status_code, response.headers, read_all(response, limit))
            finally:
                response.close()
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.DecodingError) as error:
            raise Permanent(f"{what} cannot be done: {error}.") from error
        except httpx.HTTPError as error:
            raise Transient(f"{what} broke off: {error or type(error).__name__}.") from error

    def _followed(self, url: httpx.URL, method: str, headers: Mapping[str, str], limit: int) -> Answer:
        with http.stream(self.client, str(url), headers) as response:
            body = read_all(response, limit) if method == "GET" else b""
            return Answer(response.status_code, response.headers, body)


def check(answer: Answer, what: str, reference: Reference) -> None:
    """Transient or Permanent unless the answer is a success; the sentence says what to do."""
    if 200 <= answer.status < 300:
        return
    said = _words(answer)
    if answer.status in _PASSING:
        raise Transient(f"{what} did not succeed for now ({answer.status}{said}).")
    host = reference.host
    advice = {
        401: f"{host} does not accept our credentials; log in to it, or have them renewed",
        403: f"the account that this runs as has not the right to do so in {reference.repository}",
        404: f"{host} has no such thing; check the reference, and whether {reference.repository} exists",
        405: f"{host} does not support it",
        413: f"{host} does not take anything as large as that",
    }.get(answer.status, f"{host} refuses it")
    raise Permanent(f"{what} failed ({answer.status}{said}): {advice}.")


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _words(answer: Answer) -> str:
    """The error as the specification has it (section "Error Codes"), if the answer holds one."""
    try:
        first = orjson.loads(answer.body)["errors"][0]
        code, message = first.get("code"), first.get("message") or ""
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return ""
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return ""
    return f" {code}: {printable(' '.join(str(message).split()), 200)}".rstrip(": ")
