"""Who may vote: the policy of builders, read from YAML (`builders.yaml`).

    threshold: 2                    # so many builders must agree
    validity_seconds: 7776000       # so long a vote counts: 90 days
    builders:
      - id: https://cloudbuild.googleapis.com/projects/ours
        keys: ["-----BEGIN PUBLIC KEY-----…"]
      - id: https://rebuilder.example/linux
        keys: ["…"]
        not_before: "2026-01-01T00:00:00Z"   # optional, as is not_after
        revoked: false                       # true: none of its votes counts, earlier ones neither

Refused, because each would let fewer people decide than it looks:
1. No builder. 2. A threshold below 1 (or none), or above the number of builders that are not revoked.
3. A builder that stands twice. 4. A builder without a key, and a key that stands twice, be it under two builders.
5. A key of another kind than Ed25519 and P-256. 6. A time span without an inside.
A builder is an identity, not a key: that two builders are two independent people is for the policy's author to see to.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, model_validator

from shared.appraisal.dsse import PublicKey, public_key
from shared.errors import Permanent
from shared.model.reference import Builder, Seconds
from shared.model.value import Part, Value, printable

_MAX_FILE = 256 * 1024
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
Moment = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
"""RFC 3339, UTC, whole seconds."""


class BuilderPolicy(Part):
    """One builder: an identity, and the keys that speak for it."""

    id: Builder
    """The URI that its statements have as builder.id."""
    keys: Annotated[tuple[Annotated[str, Field(max_length=2000)], ...], Field(min_length=1, max_length=20)]
    """Public keys in PEM. Several are one builder still: for a rollover, say."""
    not_before: Moment | None = None
    not_after: Moment | None = None
    """It may vote until this time, inclusive."""
    revoked: bool = False

    @model_validator(mode="after")
    def _span(self) -> Self:
        try:
            begin, end = self._seconds(self.not_before), self._seconds(self.not_after)
            self._public  # noqa: B018 - reads the keys: a mistake in them must be found now, not at the first vote
        except Permanent as error:
            raise ValueError(str(error)) from error
        if begin is not None and end is not None and begin > end:  # 6
            raise ValueError(f"{self.id} may vote from not_before to not_after, but not_after comes first")
        return self

    def may_vote(self, at: float) -> bool:
        """Whether the Unix time `at` is within the builder's time."""
        begin, end = self._seconds(self.not_before), self._seconds(self.not_after)
        return (begin is None or at >= begin) and (end is None or at <= end)

    @property
    def keyids(self) -> tuple[str, ...]:
        return tuple(key.keyid for key in self._public)

    def key(self, keyid: str) -> PublicKey:
        return next(key for key in self._public if key.keyid == keyid)

    @cached_property
    def _public(self) -> tuple[PublicKey, ...]:
        return tuple(
            public_key(pem, f"Key {number} of the builder {self.id}")  # 5
            for number, pem in enumerate(self.keys, 1)
        )

    @staticmethod
    def _seconds(moment: str | None) -> int | None:
        if moment is None:
            return None
        try:
            return int(datetime.strptime(moment, _FORMAT).replace(tzinfo=UTC).timestamp())
        except ValueError as error:
            raise Permanent(f"no calendar has the time {moment}") from error


class Builders(Value):
    """The policy. Its digest names it in what is decided by it."""

    threshold: Annotated[int, Field(ge=1, le=100)]  # 2
    validity_seconds: Annotated[Seconds, Field(ge=1)]
    builders: Annotated[tuple[BuilderPolicy, ...], Field(min_length=1, max_length=100)]  # 1

    @model_validator(mode="after")
    def _apart(self) -> Self:
        active = sum(not builder.revoked for builder in self.builders)
        if self.threshold > active:  # 2
            raise ValueError(
                f"threshold is {self.threshold}, but there are only {active} builders that are not revoked: "
                "nothing could ever be agreed on"
            )
        if twice := _twice([builder.id for builder in self.builders]):  # 3
            raise ValueError(f"the builder {twice} is given twice; give it once, with all its keys")
        if twice := _twice([keyid for builder in self.builders for keyid in builder.keyids]):  # 4
            owners = " and ".join(each.id for each in self.builders if twice in each.keyids)
            raise ValueError(f"the key {twice} is given twice ({owners}): whose vote it is must be clear")
        return self

    def find(self, id: str) -> BuilderPolicy | None:
        return next((builder for builder in self.builders if builder.id == id), None)

    def owner(self, keyid: str) -> BuilderPolicy | None:
        """Whose key it is, be he revoked or not."""
        return next((builder for builder in self.builders if keyid in builder.keyids), None)


def read(path: Path) -> Builders:
    """The policy in the YAML file at `path`; Permanent with what is wrong with it."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise Permanent(f"The policy of builders {path} cannot be read: {error.strerror}.") from error
    return parse(data, f"The policy of builders {path}")


def parse(data: bytes, what: str) -> Builders:
    """As `read`, of bytes; `what` names them."""
    if len(data) > _MAX_FILE:
        raise Permanent(f"{what} is too long; at most {_MAX_FILE} bytes are read.")
    try:
        content = yaml.load(data, _Strict)  # noqa: S506 - a SafeLoader that also refuses double keys
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Permanent(f"{what} is not YAML: {printable(' '.join(str(error).split()), 300)}.") from error
    if not isinstance(content, dict):
        raise Permanent(f"{what} must be a mapping with threshold, validity_seconds and builders.")
    try:
        text = json.dumps(content, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Permanent(
            f"{what} holds something that JSON cannot, a time without quotes say: "
            f"{printable(str(error), 200)}."
        ) from error
    return Builders.read(text, what)


class _Strict(yaml.SafeLoader):
    """YAML keeps the last of two equal keys; a threshold that is given twice is a mistake, not a choice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [str(self.construct_object(key, deep=True)) for key, _ in node.value]
        if twice := _twice(keys):
            raise yaml.constructor.ConstructorError(
                None, None, f"'{printable(twice, 60)}' is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def _twice(names: list[str]) -> str:
    return next((name for name, count in Counter(names).items() if count > 1), "")
