"""Versions as a hostile machine may spell them."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.model.package import PypiVersion

VERSION: TypeAdapter[str] = TypeAdapter(PypiVersion)


@pytest.mark.parametrize(
    ("spelled", "normal"),
    [
        ("1.0", "1.0"),
        ("1.0.0", "1.0.0"),
        ("0!1.0", "1.0"),
        ("v1.0", "1.0"),
        ("01.00", "1.0"),
        ("2024.07", "2024.7"),
        ("1.0-RC1", "1.0rc1"),
        ("1.0-1", "1.0.post1"),
        ("2.6.0+CPU", "2.6.0+cpu"),
        ("2.6.0-NA", "2.6.0-NA"),
        ("weird", "weird"),
    ],
)
def test_a_python_version_is_normalized_on_entry(spelled: str, normal: str) -> None:
    assert VERSION.validate_python(spelled) == normal


@pytest.mark.parametrize("text", ["", " 1.0", "1.0\n", "1/0", "1" * 129, "１.0"])
def test_what_has_other_characters_is_no_version(text: str) -> None:
    with pytest.raises(ValidationError):
        VERSION.validate_python(text)
