"""What stands behind an accelerator type: it decides how many VMs must report, and what they cost."""

from __future__ import annotations

import pytest

from shared.errors import Permanent
from shared.model import accelerators


@pytest.mark.parametrize(
    ("kind", "chips", "hosts"),
    [
        ("v2-8", 4, 1),
        ("v2-32", 16, 4),
        ("v2-512", 256, 64),
        ("v3-8", 4, 1),
        ("v3-2048", 1024, 256),
        ("v4-8", 4, 1),
        ("v4-16", 8, 2),
        ("v4-384", 192, 48),
        ("v5litepod-1", 1, 1),
        ("v5litepod-4", 4, 1),
        ("v5litepod-8", 8, 1),
        ("v5litepod-16", 16, 4),
        ("v5litepod-256", 256, 64),
        ("v5p-8", 4, 1),
        ("v5p-16", 8, 2),
        ("v5p-12288", 6144, 1536),
        ("v6e-1", 1, 1),
        ("v6e-8", 8, 1),
        ("v6e-16", 16, 4),
        ("v6e-256", 256, 64),
    ],
)
def test_chips_and_hosts(kind: str, chips: int, hosts: int) -> None:
    assert (accelerators.chips(kind), accelerators.hosts(kind)) == (chips, hosts)


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "v5e-8",
        "v5litepod-3",
        "v5litepod-512",
        "v2-16",
        "v4-24",
        "v5p-12416",
        "v6e-08",
        "v6e-٨",
        "V6E-8",
        "v6e-8 ",
        "v6e-8\n",
        "v99-8",
        "v6e-99999999999999",
    ],
)
def test_what_is_no_type_is_refused_with_one_sentence(kind: str) -> None:
    for count in (accelerators.chips, accelerators.hosts):
        with pytest.raises(Permanent, match="There is no TPU accelerator type") as caught:
            count(kind)
        assert "\n" not in str(caught.value)
