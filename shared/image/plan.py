"""An image as planned: its layers, not yet built, and its configuration. What a kind of service gives the builder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.image.tree import Tree
from shared.model.image import LockedInput


@dataclass(frozen=True)
class Layer:
    """One layer. Built only if the store holds no layer of that key."""

    name: str
    key: str
    """sha256 over all that its content follows from: recipe's version, digests of inputs and sources, options."""
    tree: Callable[[], Tree]


@dataclass(frozen=True)
class Ready:
    """A layer that somebody else built: its blob goes into the image byte for byte, compressed as it is."""

    name: str
    blob: Path
    digest: str
    """Of the blob; checked while it is copied."""
    diff_id: str
    """Of the tar inside, as the configuration of the image that it comes from says."""
    media_type: str
    """OCI's or Docker's for a tar, plain, gzip or zstd; Docker's is written as OCI's, the bytes are the same."""


@dataclass(frozen=True)
class Config:
    """What the image's configuration says (https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md)."""

    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    layers: tuple[Layer | Ready, ...]
    """The lowest first."""
    config: Config


Inputs = Callable[[LockedInput], Path]
"""A pinned input as a local file whose sha256 was checked on this call: fetched, or from the cache."""
