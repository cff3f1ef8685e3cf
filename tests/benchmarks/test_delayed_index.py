"""The index that everybody waits for says what sync and bandersnatch read of PyPI."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from pathlib import Path

import orjson
import pytest

from shared.upstream.download import Downloader
from shared.upstream.pypi import PythonIndexClient
from tests.benchmarks.delayed_index import Offered, delayed_index
from tests.support import built


def test_pages_and_files_are_those_of_an_index(tmp_path: Path) -> None:
    wheel = built.wheel("small", "1.0")
    path = tmp_path / wheel.filename
    path.write_bytes(wheel.content)
    with delayed_index([Offered("small", "1.0", path, wheel.sha256[7:])], 0) as address:
        (file,) = PythonIndexClient(f"{address}/simple/").files("small")
        Downloader().fetch(file.url, wheel.sha256, tmp_path / "fetched")
        with urllib.request.urlopen(f"{address}/pypi/small/json") as answer:  # noqa: S310 - loopback
            about, serial = orjson.loads(answer.read()), answer.headers["X-PyPI-Last-Serial"]
        with urllib.request.urlopen(f"{address}/simple") as answer:  # noqa: S310 - loopback
            listed = orjson.loads(answer.read())
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/simple/other/")  # noqa: S310 - loopback
    (released,) = about["releases"]["1.0"]
    assert file.sha256 == f"sha256:{released['digests']['sha256']}" == wheel.sha256
    assert hashlib.sha256((tmp_path / "fetched").read_bytes()).hexdigest() == wheel.sha256[7:]
    assert (released["url"], released["size"]) == (file.url, len(wheel.content))
    assert listed["projects"] == [{"name": "small", "_last-serial": int(serial)}]
