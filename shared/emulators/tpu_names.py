"""Resource names of the TPU API: which zone a parent is, and pages of lists."""

import base64
import re
from collections.abc import Iterable
from typing import Any

from google.rpc import code_pb2

from shared.emulators.tpu_errors import ApiError, invalid

_PARENT = re.compile(r"projects/([a-z0-9:.-]+)/locations/([a-z]+-[a-z]+[0-9]+-[a-z])")
_SIZE = 100


def zone_of(parent: str, project: str) -> str:
    """The zone of a parent. ApiError if it is of another project, or no zone."""
    match = _PARENT.fullmatch(parent)
    if not match or match[1] != project:
        raise ApiError(code_pb2.PERMISSION_DENIED, f"Permission denied on '{parent}' (or it may not exist).")
    return match[2]


def parent_of(name: str) -> str:
    """Of a resource below a location: the location."""
    return name.rsplit("/", 2)[0]


def page(names: Iterable[str], request: Any, parent: str = "", most: int = _SIZE) -> tuple[list[str], str]:
    """Those of `names` that the list `request` asks for now, and the token of the next page (empty: no more).

    Below `parent`, or the request's own; `locations/-` is every zone. `most` on a page.
    """
    parent = parent or request.parent
    anywhere = parent.endswith("/-")
    prefix = parent.removesuffix("/locations/-") + "/" if anywhere else f"{parent}/"
    after = _start(request.page_token)
    rest = sorted(name for name in names if name.startswith(prefix) and name > after)
    size = min(request.page_size, most) if request.page_size > 0 else most
    found = rest[:size]
    return found, base64.urlsafe_b64encode(found[-1].encode()).decode() if rest[size:] else ""


def _start(token: str) -> str:
    try:
        return base64.b64decode(token, b"-_", validate=True).decode()
    except ValueError:
        raise invalid("The page token is not valid.") from None
