"""base64 in the one spelling that an encoder writes (RFC 4648, sections 3.5, 4 and 5)."""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64

_FROM_URL = bytes.maketrans(b"-_+/", b"+/!!")
"""+ and / become something that strict decoding refuses: they are not of the URL-safe alphabet."""
_TO_URL = bytes.maketrans(b"+/", b"-_")


def from_base64url(text: bytes) -> bytes | None:
    """The bytes of unpadded base64url (RFC 7515, section 2); None if `text` is not exactly what encodes them."""
    try:
        data = a2b_base64(text.translate(_FROM_URL) + b"=" * (-len(text) % 4), strict_mode=True)
    except Error:
        return None
    return data if to_base64url(data) == text else None


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
