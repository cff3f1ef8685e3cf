"""A reference value (RFC 9334, section 8.3): the digests of an image that independent builders agreed on."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from shared.errors import Permanent
from shared.model.image import ImageName
from shared.model.value import Digest, Part, Value, sha256

Seconds = Annotated[int, Field(ge=0, le=2**40)]
"""Unix time, or a span of it."""
Builder = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[!-~]{1,300}$")]
"""A builder's identity, a URI (SLSA's builder.id)."""
Revision = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]


class ImageConfiguration(Part):
    """What an appraisal needs of an image's configuration."""

    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    env: dict[str, str]
    labels: dict[str, str]


class ReferenceValue(Value):
    format: Literal["package-dmz/reference-value/v1"] = "package-dmz/reference-value/v1"
    image: ImageName
    revision: Revision
    """Of the source."""
    lock: Digest
    manifest: Digest
    config: Digest
    index: Digest | None = None
    """Digest of an index that lists this manifest, if the image is published under one."""
    config_json: Annotated[str, Field(max_length=100_000)]
    """The configuration itself, whose digest is `config`: entry point, environment and labels are read from it."""
    builders: tuple[Builder, ...]
    """Who agreed, sorted."""
    threshold: Annotated[int, Field(ge=1)]
    statements: tuple[Digest, ...]
    """Of the signed statements that were counted, one for each builder."""
    agreed: Seconds
    expires: Seconds
    state: Literal["agreed", "disputed", "revoked"]
    reason: Annotated[str, Field(max_length=2000)] = ""

    @model_validator(mode="after")
    def _own(self) -> Self:
        if sha256(self.config_json.encode()) != self.config:
            raise ValueError(f"config_json does not have the digest {self.config} that config states")
        return self

    @cached_property
    def digest(self) -> str:
        """As every value's; kept, since every appraisal against it states it."""
        return sha256(self.canonical())

    @property
    def configuration(self) -> ImageConfiguration:
        return configuration(self.config_json, f"The configuration of {self.image}")


def configuration(config_json: str, what: str) -> ImageConfiguration:
    """Read an OCI image configuration (config.md); Permanent with what is wrong with it."""
    try:
        inner: Any = json.loads(config_json)["config"]
        env = [str(each).partition("=") for each in inner.get("Env") or ()]
        return ImageConfiguration.check(
            {
                "entrypoint": inner.get("Entrypoint") or [],
                "cmd": inner.get("Cmd") or [],
                "env": {name: value for name, _, value in env},
                "labels": inner.get("Labels") or {},
            },
            what,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Permanent(f"{what} is no OCI image configuration: {error!r}.") from error
