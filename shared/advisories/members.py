"""The members of a zip, each read by itself and held to its CRC-32: a broken one says nothing about the others.

APPNOTE.TXT 4.3.7: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from io import BufferedReader

_MARGIN = 512
"""Bytes of name and extra field that are read together with a record: nearly always enough."""
_LOCAL_HEADER = struct.Struct("<4s22sHH")
"""Signature, what the central directory has as well, lengths of name and extra field."""


def listed(file: BufferedReader) -> list[zipfile.ZipInfo]:
    """Every member: also one of two that have the same name, and whatever the name is. It stands in the directory of
    the zip, which no checksum covers: a damaged one must not hide a record."""
    with zipfile.ZipFile(file) as archive:
        return [info for info in archive.infolist() if not info.is_dir()]


def content(file: BufferedReader, info: zipfile.ZipInfo, most: int) -> bytes:
    """Content of a member; zipfile.BadZipFile if it is not what the directory says, or has over `most` bytes."""
    if info.file_size > most:
        raise zipfile.BadZipFile(f"it inflates to {info.file_size} bytes")
    data = os.pread(file.fileno(), _LOCAL_HEADER.size + _MARGIN + info.compress_size, info.header_offset)
    if len(data) < _LOCAL_HEADER.size:
        raise zipfile.BadZipFile("it ends early")
    signature, _, name, extra = _LOCAL_HEADER.unpack_from(data)
    if signature != b"PK\x03\x04":
        raise zipfile.BadZipFile("it does not stand where it should")
    start = _LOCAL_HEADER.size + name + extra
    if start > _LOCAL_HEADER.size + _MARGIN:
        start, data = 0, os.pread(file.fileno(), info.compress_size, info.header_offset + start)
    packed = data[start : start + info.compress_size]
    if len(packed) != info.compress_size:
        raise zipfile.BadZipFile("it ends early")
    inflated = _inflated(packed, info)
    if len(inflated) != info.file_size or zlib.crc32(inflated) != info.CRC:
        raise zipfile.BadZipFile("its CRC-32 is wrong")
    return inflated


def _inflated(data: bytes, info: zipfile.ZipInfo) -> bytes:
    if info.compress_type == zipfile.ZIP_STORED:
        return data
    if info.compress_type != zipfile.ZIP_DEFLATED:
        raise zipfile.BadZipFile(f"it is compressed by method {info.compress_type}, which is not read")
    try:
        # One byte more than there should be: a record that inflates without end stops here.
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, info.file_size + 1)
    except zlib.error as error:
        raise zipfile.BadZipFile(str(error)) from error
