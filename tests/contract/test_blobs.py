"""What a stage may expect of content-addressed bytes."""

from __future__ import annotations

import json
import random
import time

import pytest

from shared.errors import Permanent
from shared.model.value import sha256
from tests.contract.conftest import Vault

CHUNK = 900_000
SIZES = [0, 1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 8_000_000]


@pytest.mark.parametrize("size", SIZES)
def test_what_goes_in_comes_out(vault: Vault, size: int) -> None:
    data = random.Random(size).randbytes(size)  # noqa: S311 - bytes that do not compress
    digest = vault.blobs.put(data)
    assert digest == sha256(data)
    assert vault.blobs.get(digest) == data


def test_eight_megabytes_of_json_take_seconds_at_most(vault: Vault) -> None:
    data = (b'{"name":"some-package","version":"1.2.3"},' * 200_000)[:8_000_000]
    started = time.monotonic()
    assert vault.blobs.get(vault.blobs.put(data)) == data
    assert time.monotonic() - started < 10


def test_the_verdicts_about_a_hundred_thousand_findings_go_in_and_come_out(vault: Vault) -> None:
    """Some 28 MB of JSON, of which each line is another: several chunks when it is packed."""
    lines = (json.dumps({"id": f"GHSA-{n:06}", "summary": sha256(str(n).encode()) * 3}) for n in range(10**5))
    data = f"[{','.join(lines)}]".encode()
    assert len(data) > 24_000_000
    assert vault.blobs.get(vault.blobs.put(data)) == data


def test_putting_twice_is_putting_once(vault: Vault) -> None:
    assert vault.blobs.put(b"the same") == vault.blobs.put(b"the same")
    assert vault.blobs.get(sha256(b"the same")) == b"the same"


def test_missing_content_is_permanent(vault: Vault) -> None:
    with pytest.raises(Permanent, match="no stored content sha256:"):
        vault.blobs.get(sha256(b"never stored"))


def _gzip(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    "other",
    [b"", b"not gzip", _gzip(b"other content"), _gzip(b"the content")[:-4], _gzip(b"the content") + b"tail"],
)
def test_changed_content_is_permanent(vault: Vault, other: bytes) -> None:
    digest = vault.blobs.put(b"the content")
    vault.overwrite(digest, other)
    with pytest.raises(Permanent, match="has been changed"):
        vault.blobs.get(digest)


def test_content_that_lost_a_part_is_permanent(vault: Vault) -> None:
    digest = vault.blobs.put(b"the content")
    vault.forget_a_part(digest)
    with pytest.raises(Permanent, match="has been changed"):
        vault.blobs.get(digest)
