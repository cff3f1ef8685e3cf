"""What a waiver may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from shared import waivers
from shared.errors import Permanent
from shared.events import WaiverGranted
from shared.model.waiver import Waiver

SCHEMA = json.loads((Path(__file__).parents[2] / "events" / "waiver-granted.schema.json").read_text())
GOOD: dict[str, Any] = {
    "advisory": "CVE-2024-56326",
    "package": "pkg:pypi/jinja2@*",
    "workload": "quickstart",
    "reason": "only trusted templates are rendered",
    "approver": "Ada Löf <ada@example.org>",
    "granted": "2026-11-22T09:00:00Z",
    "expires": "2026-12-22T09:00:00.5Z",
}


def read(**changes: Any) -> Waiver:
    return Waiver.check(GOOD | changes, "The waiver")


def test_equal_waivers_have_one_id_and_others_another() -> None:
    assert read().id == read(until_fixed=False).id
    ids = {read().id, read(until_fixed=True).id, read(reason="another").id, read(workload="").id}
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"advisory": "", "package": ""}, "neither an advisory nor a package"),
        ({"expires": "2026-11-22T09:00:00Z"}, "expires before it is granted"),
        ({"reason": ""}, "reason"),
        ({"reason": "  "}, "not blank"),
        ({"approver": "\u00a0"}, "approver"),
        ({"reason": "two\nlines"}, "printable"),
        ({"approver": "ada\x1b[2J"}, "printable"),
        ({"reason": "r" * 501}, "reason"),
        ({"expires": "2026-12-22"}, "RFC 3339"),
        ({"expires": "2026-12-22T09:00:00+01:00"}, "RFC 3339"),
        ({"expires": "2026-W52-1T09:00:00Z"}, "RFC 3339"),
        ({"expires": "20261222T090000Z"}, "RFC 3339"),
        ({"expires": "2026-12-22T09:00Z"}, "RFC 3339"),
        ({"expires": "2026-02-30T09:00:00Z"}, "RFC 3339"),
        ({"expires": "２０２６-12-22T09:00:00Z"}, "RFC 3339"),
        ({"advisory": "CVE 1"}, "advisory"),
        ({"package": "jinja2"}, "package"),
        ({"workload": "Quick"}, "workload"),
        ({"until_fixed": "no"}, "until_fixed"),
    ],
)
def test_a_mistake_is_one_sentence(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Permanent) as raised:
        read(**changes)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("missing", ["reason", "approver", "granted", "expires"])
def test_nobody_waives_without_reason_approver_or_end(missing: str) -> None:
    with pytest.raises(Permanent, match=missing):
        Waiver.check({name: given for name, given in GOOD.items() if name != missing}, "The waiver")


@pytest.mark.parametrize("changes", [{"reason": "  "}, {"reason": "two\nlines"}, {"approver": ""}])
def test_the_schema_refuses_what_a_line_may_not_be(changes: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    good = json.loads(WaiverGranted(waiver=read()).canonical())
    validator.validate(good)
    assert not validator.is_valid({"waiver": good["waiver"] | changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {},
            "CVE-2024-56326 in pkg:pypi/jinja2@*, for the workload quickstart, until 2026-12-22T09:00:00.5Z",
        ),
        ({"package": "", "workload": ""}, "CVE-2024-56326, for every workload, until 2026-12-22T09:00:00.5Z"),
        (
            {"advisory": "", "until_fixed": True},
            "everything that the rules say against pkg:pypi/jinja2@*, for the workload quickstart, until "
            "2026-12-22T09:00:00.5Z, or until a fix exists",
        ),
    ],
)
def test_it_is_told_in_words(changes: dict[str, Any], said: str) -> None:
    assert waivers.words(read(**changes)) == said
