"""Cloud TPU accelerator types: how many chips and hosts (VMs) stand behind a name like `v5litepod-16`.

Sources, read in November 2026: https://docs.cloud.google.com/tpu/docs/v2, …/v3, …/v4, …/v5p (the number in the name
counts TensorCores, two to a chip), …/v5e and …/v6e (it counts chips). A host has four chips, but v5e and v6e slices of
up to eight chips are one host. Later generations are machine types of Compute Engine, not types of the TPU API.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.errors import Permanent
from shared.model.value import printable

_CHIPS_PER_HOST = 4
_NAME = re.compile(r"(v[0-9][a-z]*)-([1-9][0-9]{0,4})", re.ASCII)


@dataclass(frozen=True)
class _Family:
    sizes: frozenset[int]
    """Numbers that may stand behind the family's name."""
    per_chip: int
    """What one chip adds to that number."""
    one_host: int = _CHIPS_PER_HOST
    """The largest slice, in chips, that is a single host."""


def _cubes(largest: int) -> frozenset[int]:
    """Up to 32 chips in a line of doublings, above that whole cubes of 4 x 4 x 4 chips; counted in cores."""
    return frozenset((8, 16, 32, 64, *range(128, largest + 1, 128)))


_FLAT = frozenset((1, 4, 8, 16, 32, 64, 128, 256))
_FAMILIES = {
    "v2": _Family(frozenset((8, 32, 128, 256, 512)), per_chip=2),
    "v3": _Family(frozenset((8, 32, 64, 128, 256, 512, 1024, 2048)), per_chip=2),
    "v4": _Family(_cubes(8192), per_chip=2),
    "v5litepod": _Family(_FLAT, per_chip=1, one_host=8),
    "v5p": _Family(_cubes(12288), per_chip=2),
    "v6e": _Family(_FLAT, per_chip=1, one_host=8),
}
FAMILIES = tuple(_FAMILIES)
"""What an accelerator type may begin with."""


def family(accelerator_type: str) -> str:
    """Like `v5litepod`. Permanent if there is no such type."""
    _slice(accelerator_type)
    return accelerator_type.partition("-")[0]


NAMES = tuple(f"{family}-{size}" for family, its in _FAMILIES.items() for size in sorted(its.sizes))
"""Every type that this module knows."""


def chips(accelerator_type: str) -> int:
    """Chips of the slice. Permanent if there is no such type."""
    return _slice(accelerator_type)[0]


def hosts(accelerator_type: str) -> int:
    """Hosts of the slice, each a VM of its own. Permanent if there is no such type."""
    count, one_host = _slice(accelerator_type)
    return 1 if count <= one_host else count // _CHIPS_PER_HOST


def _slice(accelerator_type: str) -> tuple[int, int]:
    match = _NAME.fullmatch(accelerator_type)
    family = _FAMILIES.get(match[1]) if match else None
    if match is None or family is None or int(match[2]) not in family.sizes:
        raise Permanent(
            f"There is no TPU accelerator type '{printable(accelerator_type, 60)}': give one like v5litepod-8, of the "
            f"families {', '.join(_FAMILIES)}; https://docs.cloud.google.com/tpu/docs/regions-zones lists the sizes."
        )
    return int(match[2]) // family.per_chip, family.one_host
