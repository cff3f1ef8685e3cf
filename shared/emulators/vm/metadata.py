"""The metadata server of one VM, on 169.254.169.254:80.

Source: https://docs.cloud.google.com/compute/docs/metadata/predefined-metadata-keys and …/querying-metadata. Served:
instance/{id,name,zone,hostname,attributes/,service-accounts/}, project/{project-id,numeric-project-id}, directory
listings, `?recursive=true`, `?alt=text`. Not served: identity tokens, wait_for_change (answers at once).
Rules: 1. only with `Metadata-Flavor: Google`; 2. never with X-Forwarded-For (a proxied request); 3. GET and HEAD only.
"""

import hashlib
import json
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from shared.emulators import tokens
from shared.emulators.vm.http1 import Exchange
from shared.emulators.vm.spec import VmSpec

_FLAVOR = "Metadata-Flavor"
Leaf = str | int | Callable[[], bytes]
_VERBATIM = ("attributes", "service-accounts")  # below these, keys are data and keep their spelling


def tree(spec: VmSpec, token_key: bytes) -> dict[str, Any]:
    """Everything below computeMetadata/v1/. A callable is served alone and left out of recursive answers."""
    place, identity = spec.place, spec.identity

    def token() -> bytes:
        access = tokens.mint(token_key, identity.email, time.time())
        return json.dumps({"access_token": access, "expires_in": 3599, "token_type": "Bearer"}).encode()

    account = {
        "aliases": "default",
        "email": identity.email,
        "scopes": "".join(f"{scope}\n" for scope in identity.scopes),
        "token": token,
    }
    return {
        "instance": {
            "attributes": dict(spec.attributes),
            "hostname": f"{spec.name}.{place.zone}.c.{place.project}.internal",
            "id": place.instance_id,
            "name": spec.name,
            "service-accounts": {"default": account, identity.email: account},
            "zone": f"projects/{place.numeric_project}/zones/{place.zone}",
        },
        "project": {
            "project-id": place.project,
            "numeric-project-id": place.numeric_project,
            "attributes": {},
        },
    }


def handler(spec: VmSpec, token_key: bytes) -> Callable[[Exchange], None]:
    root = {"computeMetadata": {"v1": tree(spec, token_key)}}

    def handle(exchange: Exchange) -> None:
        if exchange.command not in ("GET", "HEAD"):  # rule 3
            return _page(exchange, 405, "The request method is not allowed for this URL.")
        if exchange.headers.get("X-Forwarded-For"):  # rule 2
            return _page(exchange, 403, "X-Forwarded-For is not allowed.")
        url = urllib.parse.urlsplit(exchange.path)
        if url.path != "/" and exchange.headers.get(_FLAVOR) != "Google":  # rule 1
            return _page(exchange, 403, "Missing Metadata-Flavor:Google header.")
        return _serve(exchange, root, url)

    return handle


def _serve(exchange: Exchange, root: Mapping[str, Any], url: urllib.parse.SplitResult) -> None:
    found: Any = root
    parts = [urllib.parse.unquote(part) for part in url.path.split("/") if part]
    for part in parts:
        if not isinstance(found, dict) or part not in found:
            return _page(exchange, 404, f"The requested URL {url.path} was not found on this server.")
        found = found[part]
    query = urllib.parse.parse_qs(url.query)
    recursive = query.get("recursive", [""])[0].lower() == "true"
    if callable(found):
        return _send(exchange, found(), "application/json")
    if not isinstance(found, dict):
        if query.get("alt") == ["json"]:
            return _send(exchange, json.dumps(found).encode(), "application/json")
        return _send(exchange, str(found).encode(), "application/text")
    if not url.path.endswith("/") and not recursive:
        location = f"http://metadata.google.internal{url.path}/"
        return exchange.reply(301, location.encode(), "text/html", {"Location": location, _FLAVOR: "Google"})
    if recursive:
        verbatim = bool(parts) and parts[-1] in _VERBATIM
        return _send(exchange, json.dumps(_recursive(found, verbatim=verbatim)).encode(), "application/json")
    listing = "".join(
        f"{name}/\n" if isinstance(child, dict) else f"{name}\n" for name, child in sorted(found.items())
    )
    return _send(exchange, listing.encode(), "application/text")


def _recursive(found: Mapping[str, Any], *, verbatim: bool) -> dict[str, Any]:
    """A directory as JSON: keys in camelCase, lists where the real server has lists, nothing that is made on demand."""
    answer: dict[str, Any] = {}
    for name, child in found.items():
        key = name if verbatim else _camel(name)
        if isinstance(child, dict):
            answer[key] = _recursive(child, verbatim=name in _VERBATIM)
        elif name in ("aliases", "scopes") and not verbatim:
            answer[key] = str(child).split()
        elif not callable(child):
            answer[key] = child
    return answer


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)


def _send(exchange: Exchange, body: bytes, kind: str) -> None:
    etag = hashlib.sha256(body).hexdigest()[:16]
    exchange.reply(200, body, kind, {_FLAVOR: "Google", "ETag": etag})


def _page(exchange: Exchange, code: int, sentence: str) -> None:
    exchange.close_connection = True
    body = f"<!DOCTYPE html>\n<html lang=en>\n<title>Error {code}</title>\n<p>{sentence}\n".encode()
    exchange.reply(code, body, "text/html; charset=UTF-8", {_FLAVOR: "Google"})
