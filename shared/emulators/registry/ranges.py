"""Range requests for a single range of bytes: RFC 9110, section 14."""

import re

from shared.emulators.registry.problems import Problem

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def requested_range(header: str | None, size: int) -> tuple[int, int] | None:
    """(start, count) that the Range header asks of a file of `size` bytes; None to send the whole.

    416 if the range begins after the end. What cannot be read, or asks for several ranges, is ignored, as the RFC says.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if not match or match[0] == "bytes=-":
        return None
    if not match[1]:
        start = max(0, size - int(match[2]))
        last = size - 1
    else:
        start = int(match[1])
        last = min(int(match[2]), size - 1) if match[2] else size - 1
        if match[2] and int(match[2]) < start:
            return None
    if start >= size:
        raise Problem(
            416,
            f"The range begins after the end of {size} bytes.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, last - start + 1
