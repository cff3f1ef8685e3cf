"""The serial number of a bill of materials is read from its end, whatever strangers wrote before it."""

from __future__ import annotations

import json

import pytest

from shared.bom.parts import finished, serial
from shared.bom.sbom import sbom
from tests.bom.world import approved, wheel

_FAKE = '"serialNumber":"urn:uuid:00000000-0000-8000-8000-000000000000","specVersion":"1.7","version":1}'


@pytest.mark.parametrize("place", ["components", "metadata", "compositions", "dependencies"])
@pytest.mark.parametrize("said", [_FAKE, f'"{_FAKE}', f"\\{_FAKE}", _FAKE * 3])
def test_what_a_stranger_wrote_is_never_taken_for_it(place: str, said: str) -> None:
    bill = finished({place: [{"name": said, "serialNumber": said}], "metadata": {"zz": said}})
    assert serial(bill) == json.loads(bill)["serialNumber"]


def test_it_is_that_of_a_real_one() -> None:
    bill = sbom(approved(python=(wheel("app", "1.0"),)))
    assert serial(bill) == json.loads(bill)["serialNumber"]


def test_half_a_document_has_none() -> None:
    with pytest.raises(ValueError, match="ends with its serial number"):
        serial(finished({"metadata": {}})[:-1])
