"""Who we are to a registry: Basic credentials, or a token that its token server gives for them.

https://distribution.github.io/distribution/spec/auth/token/. A registry says where its token server is, and a hostile
one says wrong things. Therefore:
1. Only requests to the registry's own origin carry credentials; where it redirects to, a blob store say, learns none.
2. The token server is reached by TLS, or is the registry itself; a bare address of another machine is refused.
3. A user's name and password go to the registry's own host, or to a domain that it lies in (whose owner could take the
   registry's name away at any time), to nobody else. Docker Hub's token server is the one known exception.
4. The token server's answer is short, is no redirect, and holds a token that fits into a header.
5. What was not accepted is not sent again in the same request.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from shared.errors import Permanent
from shared.model.value import printable
from shared.upstream import http, public

_ANSWER_LIMIT = 1 << 18
_HEADER_LIMIT = 1 << 13
_HUB = {"registry-1.docker.io": "auth.docker.io", "index.docker.io": "auth.docker.io"}
_WORD = re.compile(
    r'([A-Za-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))|([A-Za-z][A-Za-z0-9-]*)(?=\s|,|$)', re.ASCII
)
_TOKEN = re.compile(r"[!-~]{1,16384}", re.ASCII)


@dataclass(frozen=True)
class Login:
    """A user of a registry; the password is asked for when it is needed, since Google's are short-lived."""

    user: str
    password: Callable[[], str]

    def header(self) -> str:
        pair = f"{self.user}:{self.password()}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


class RegistryClient(httpx.Client):
    """A client of one registry and scope: adds what it accepts, and asks its token server when it says so.

    A request whose body is a stream cannot be repeated: on 401 its caller gets that answer, and the next request a new
    token.
    """

    def __init__(self, base: str, login: Login | None, scope: str, **options: Any) -> None:
        """`base`: the registry's address. `scope`: `repository:NAME:pull,push`, what the token must allow."""
        super().__init__(**options)
        self._base = httpx.URL(base)
        self._login = login
        self._scope = scope
        self._header = ""
        self._renewing = threading.Lock()
        self.is_ended = False
        """Set by whoever gives up: every request fails at its next step, for good."""

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        if self.is_ended:
            raise Permanent(f"Asking {self._base.host} was given up, because another part failed.")
        response = self._send_authorized(request, options)
        if isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _Endable(response.stream, self)
        return response

    def _send_authorized(self, request: httpx.Request, options: Mapping[str, Any]) -> httpx.Response:
        if not is_same_origin(request.url, self._base):
            request.headers.pop("Authorization", None)  # 1
            return super().send(request, **options)
        used = self._header
        response = self._send_as(used, request, options)
        if response.status_code != 401:
            return response
        if not isinstance(request.stream, httpx.ByteStream):
            self._forget(used)
            return response
        if not self._renew(used, response):
            return response
        response.close()
        return self._send_as(self._header, request, options)  # 5

    def _send_as(self, header: str, request: httpx.Request, options: Mapping[str, Any]) -> httpx.Response:
        if header:
            request.headers["Authorization"] = header
        return super().send(request, **options)

    def _forget(self, used: str) -> None:
        with self._renewing:
            if self._header == used:
                self._header = ""

    def _renew(self, used: str, response: httpx.Response) -> bool:
        """Whether there is something else to try than `used`."""
        with self._renewing:
            if self._header != used:  # another thread was faster
                return True
            offered = challenges(response.headers.get_list("www-authenticate"))
            if "bearer" in offered:
                self._header = f"Bearer {self._token(offered['bearer'])}"
            elif "basic" in offered and self._login:
                self._header = self._login.header()
            return self._header != used

    def _token(self, challenge: Mapping[str, str]) -> str:
        realm = self._realm(challenge.get("realm", ""))
        headers = {}
        if self._login:
            if not self._may_know(realm):  # 3
                raise Permanent(
                    f"{self._base.host} wants its user's password shown to {realm.host}, which is refused: that host "
                    "is not the registry's own."
                )
            headers["Authorization"] = self._login.header()
        params = {"service": challenge.get("service", ""), "scope": self._scope}
        url = realm.copy_merge_params({name: value for name, value in params.items() if value})
        answer = super().send(self.build_request("GET", url, headers=headers), stream=True)
        try:
            body = read_all(answer, _ANSWER_LIMIT)  # 4
        finally:
            answer.close()
        if answer.status_code in (401, 403):
            raise Permanent(
                f"{realm.host} gives no token for {self._scope}: it does not take the credentials"
                f"{'' if self._login else ', of which there are none'} ({answer.status_code})."
            )
        http.check_status(answer.status_code, f"The token server {realm.copy_with(query=None)}")
        return _token_in(body, realm.host)

    def _realm(self, text: str) -> httpx.URL:
        try:
            realm = httpx.URL(text)
        except httpx.InvalidURL:
            realm = httpx.URL()
        if realm.userinfo or not realm.host or realm.scheme not in ("http", "https"):
            raise Permanent(
                f"{self._base.host} names a token server that is no address: '{printable(text, 200)}'."
            )
        is_own = is_same_origin(realm, self._base)
        if not is_own and (realm.scheme != "https" or public.is_address(realm.host)):  # 2
            raise Permanent(
                f"{self._base.host} names the token server {printable(text, 200)}, which is refused: it must be the "
                "registry itself, or a host with a name and TLS."
            )
        return realm

    def _may_know(self, realm: httpx.URL) -> bool:
        if is_same_origin(realm, self._base):
            return True
        own, other = self._base.host, realm.host
        is_domain = "." in other and own.endswith(f".{other}")
        return realm.scheme == "https" and (own == other or is_domain or _HUB.get(own) == other)


class _Endable(httpx.SyncByteStream):
    """The bytes of an answer, until its client is ended."""

    def __init__(self, inner: httpx.SyncByteStream, client: RegistryClient) -> None:
        self._inner = inner
        self._client = client

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._inner:
            if self._client.is_ended:
                raise Permanent("This was given up, because another part failed.")
            yield piece

    def close(self) -> None:
        self._inner.close()


def is_same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    """The same scheme, host and port (RFC 6454)."""
    ports = {"http": 80, "https": 443}
    return (one.scheme, one.host, one.port or ports.get(one.scheme)) == (
        other.scheme,
        other.host,
        other.port or ports.get(other.scheme),
    )


def challenges(headers: list[str]) -> dict[str, dict[str, str]]:
    """Scheme in lower case to its parameters, of all WWW-Authenticate headers (RFC 9110, section 11.6.1)."""
    found: dict[str, dict[str, str]] = {}
    for header in headers:
        parameters: dict[str, str] = {}
        for key, quoted, plain, scheme in _WORD.findall(header[:_HEADER_LIMIT]):
            if scheme:
                parameters = found.setdefault(scheme.lower(), {})
            else:
                parameters.setdefault(key.lower(), re.sub(r"\\(.)", r"\1", quoted) or plain)
    return found


def read_all(response: httpx.Response, limit: int) -> bytes:
    """The body; Permanent if it is longer than `limit` bytes."""
    body = bytearray()
    for chunk in response.iter_bytes(1 << 16):
        body += chunk
        if len(body) > limit:
            raise Permanent(
                f"{response.url.host} answers with more than {limit} bytes where a short text belongs; refused."
            )
    return bytes(body)


def _token_in(body: bytes, host: str) -> str:
    try:
        answer = orjson.loads(body)
        token = answer.get("token") or answer.get("access_token")
    except (orjson.JSONDecodeError, AttributeError):
        token = None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise Permanent(f"{host} answers a request for a token with something that holds none.")
    return token
