"""What a distribution's metadata say of its licence. Pure.

https://packaging.python.org/en/latest/specifications/core-metadata/#license-expression (PEP 639)
"""

from __future__ import annotations

from email.parser import BytesHeaderParser
from email.policy import compat32

from shared.errors import Permanent
from shared.model.value import printable

_MAX_TEXT = 200
_MAX_EXPRESSION = 1000
_MAX_CLASSIFIERS = 20
_NOTHING = frozenset({"", "unknown", "none", "n/a"})
"""What older tools wrote where the author had said nothing."""


def licences(metadata: bytes, what: str) -> tuple[str, ...]:
    """The SPDX expression, else the License field's first line and the classifiers `License :: …`, as they stand there.

    Empty if the metadata say nothing. Permanent if these are none; `what` names them.
    """
    headers = BytesHeaderParser(policy=compat32).parsebytes(metadata)
    if not headers.get("Metadata-Version") or not headers.get("Name"):
        raise Permanent(f"{what} is no METADATA: it lacks Metadata-Version or Name.")
    expression = _first_line(headers.get("License-Expression"), _MAX_EXPRESSION)
    if expression:
        return (expression,)
    classifiers = sorted(
        {
            printable(text, _MAX_TEXT)
            for line in headers.get_all("Classifier", [])
            if (text := " ".join(str(line).split())).startswith("License ::")
        }
    )
    field = _first_line(headers.get("License"))
    return (*([field] if field else []), *classifiers[:_MAX_CLASSIFIERS])


def _first_line(value: object, limit: int = _MAX_TEXT) -> str:
    """Some authors put the whole text of their licence into the field; its first line is its name."""
    lines = (line.strip() for line in str(value or "").splitlines())
    text = next((line for line in lines if line), "")
    return "" if text.lower() in _NOTHING else printable(text, limit)
