"""base64url in its one spelling: every byte at every place, held to an encoder of the standard library."""

from __future__ import annotations

import base64

import pytest

from shared.appraisal.encoding import from_base64url

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _expected(text: bytes) -> bytes | None:
    if len(text) % 4 == 1 or text.strip(_LETTERS):
        return None
    data = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    return data if base64.urlsafe_b64encode(data).rstrip(b"=") == text else None


@pytest.mark.parametrize("length", range(13))
def test_every_byte_at_every_place(length: int) -> None:
    for place in range(length):
        for byte in range(256):
            text = bytearray(b"k" * (length - 1) + b"A")
            text[place] = byte
            assert from_base64url(bytes(text)) == _expected(bytes(text)), bytes(text)


def test_every_ending() -> None:
    for first in range(256):
        for last in range(256):
            text = b"-_kz" + bytes((first, last))
            assert from_base64url(text) == _expected(text), text


@pytest.mark.parametrize("length", range(64))
def test_json_escapes_padding_and_blanks_are_no_letters(length: int) -> None:
    for put in (
        b"\\u0041",
        b"\\u002d",
        b"\\/",
        b"\\\\",
        b'\\"',
        b"\\n",
        b"=",
        b"==",
        b"===",
        b" ",
        b"\n",
        b'"',
        b"\0",
    ):
        for place in {0, length // 2, length}:
            text = b"A" * place + put + b"A" * (length - place)
            assert from_base64url(text) is None, text
