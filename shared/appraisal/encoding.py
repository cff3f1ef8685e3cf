"""base64 in the one spelling that an encoder writes (RFC 4648, sections 3.5, 4 and 5)."""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64

_FROM_URL = bytes.maketrans(b"-_+/", b"+/!!")
"""+ and / become something that strict decoding refuses: they are not of the URL-safe alphabet."""
_PADDING = (b"", b"===", b"==", b"=")
_TWO_BITS, _FOUR_BITS = frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048")
_TO_URL = bytes.maketrans(b"+/", b"-_")


def from_base64url(text: bytes) -> bytes | None:
    """The bytes of unpadded base64url (RFC 7515, section 2); None if `text` is not exactly what encodes them."""
    over = len(text) % 4
    # The last character stands for 2 or 4 bits of a byte; those left over must be zero.
    if (
        b"=" in text
        or (over == 2 and text[-1] not in _TWO_BITS)
        or (over == 3 and text[-1] not in _FOUR_BITS)
    ):
        return None
    if b"-" in text or b"_" in text or b"+" in text or b"/" in text:
        text = text.translate(_FROM_URL)
    try:
        return a2b_base64(text + _PADDING[over] if over else text, strict_mode=True)
    except Error:
        return None


def to_base64url(data: bytes) -> bytes:
    """Unpadded base64url."""
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=")


def from_base64(text: str) -> bytes | None:
    """The bytes of padded standard base64; None if `text` is not exactly what encodes them."""
    try:
        encoded = text.encode("ascii")
        data = a2b_base64(encoded, strict_mode=True)
    except (UnicodeEncodeError, Error):
        return None
    return data if b2a_base64(data, newline=False) == encoded else None
