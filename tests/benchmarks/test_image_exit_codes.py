"""The benchmark of images fails when a promise is not kept."""

from __future__ import annotations

import pytest

from tests.benchmarks.bench_image import ended

GOOD = {
    "zstd": [1.4],
    "floor zstd": [1.0],
    "buildah zstd": [1.5],
    "gzip": [4.0],
    "buildah gzip": [4.1],
    "umoci gzip": [4.1],
}


@pytest.mark.parametrize(
    ("changed", "again", "peak", "code"),
    [
        ({}, 0.09, 299, 0),
        ({"zstd": [1.6], "buildah zstd": [9.0]}, 0.09, 299, 1),
        ({"buildah zstd": [1.3]}, 0.09, 299, 1),
        ({"buildah gzip": [3.9]}, 0.09, 299, 1),
        ({"umoci gzip": [3.9]}, 0.09, 299, 1),
        ({}, 0.1, 299, 1),
        ({}, 0.09, 300, 1),
    ],
)
def test_exit_code(changed: dict[str, list[float]], again: float, peak: int, code: int) -> None:
    assert ended({**GOOD, **changed}, again, peak) == code
