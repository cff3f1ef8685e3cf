"""The base of every value: strict, frozen, parsed once at the edge, and with one canonical byte form."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from shared.errors import Permanent

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise ValueError("a digest is 'sha256:' and 64 lower-case hexadecimal digits")
    return text


Digest = Annotated[str, AfterValidator(_digest)]
"""`sha256:` and 64 lower-case hexadecimal digits (OCI image spec, descriptor.md#digests)."""


class Value(BaseModel):
    """A value that nothing changes after it was checked."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    @classmethod
    def read(cls, data: bytes | str, what: str) -> Self:
        """Parse JSON; `what` names the document in the one sentence that a failure gives."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise Permanent(sentence(error, what)) from error

    @classmethod
    def check(cls, data: Any, what: str) -> Self:
        """Validate an already parsed JSON-like object with the same strictness as `read`."""
        try:
            text = json.dumps(data, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise Permanent(f"{what} holds something that JSON cannot: {error}.") from error
        return cls.read(text, what)

    def canonical(self) -> bytes:
        """Sorted keys, no white space, UTF-8: equal values give equal bytes."""
        return canonical(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """sha256 over the canonical bytes."""
        return sha256(self.canonical())


def canonical(data: Any) -> bytes:
    """JSON with sorted keys and without white space; numbers must be finite."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256(data: bytes) -> str:
    """`sha256:<hex>` of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sentence(error: ValidationError, what: str) -> str:
    """The first mistake of a failed validation as one sentence, and how many more there are."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the document itself"
    found = printable(repr(first.get("input")), 80)
    more = f" ({error.error_count() - 1} more mistakes)" if error.error_count() > 1 else ""
    return f"{what} is not valid at {printable(where, 120)}: {first['msg']}, found {found}{more}."


def printable(text: str, limit: int) -> str:
    """`text` without control or invisible characters, cut to `limit`: safe on a terminal and in a log line."""
    clean = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[: limit + 1])
    return clean if len(text) <= limit else clean[:limit] + "…"
