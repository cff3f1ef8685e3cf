"""Two readers would not agree on a document whose object has a key twice: it is refused, however deep that is."""

from __future__ import annotations

import pytest

from shared.errors import Permanent
from shared.model.package import Package
from shared.model.value import Part


class Inner(Part):
    package: Package
    more: dict[str, str] = {}


class Outer(Part):
    parts: tuple[Inner, ...]


_PACKAGE = '{"ecosystem":"pypi","name":"a","version":"1"}'


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"parts":[],"parts":[]}', "parts"),
        (f'{{"parts":[{{"package":{_PACKAGE},"package":{_PACKAGE}}}]}}', "package"),
        (f'{{"parts":[{{"package":{_PACKAGE[:-1]},"name":"a"}}}}]}}', "name"),
        (f'{{"parts":[{{"package":{_PACKAGE},"more":{{"x":"1","x":"2"}}}}]}}', "x"),
        (f'{{"parts":[{{"package":{_PACKAGE}}},{{"more":{{"y":"1","y":"1"}},"package":{_PACKAGE}}}]}}', "y"),
    ],
)
def test_a_key_that_stands_twice_is_refused_at_any_depth(text: str, key: str) -> None:
    with pytest.raises(Permanent, match=f"The thing has the key '{key}' twice in one object; give it once"):
        Outer.read(text, "The thing")


def test_the_same_key_in_two_objects_is_none_twice() -> None:
    text = f'{{"parts":[{{"package":{_PACKAGE}}},{{"package":{_PACKAGE},"more":{{"name":"x"}}}}]}}'
    assert len(Outer.read(text, "The thing").parts) == 2
