"""events/ says what the code does: schemas, catalogue and examples."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from shared import schemas
from shared.errors import Permanent
from shared.events import PUBLISHERS, SUBSCRIBERS, TYPES, Delivery, decode

EVENTS = Path(__file__).parents[2] / "events"
EXAMPLES = EVENTS / "examples"


def test_schemas_and_catalogue_are_what_the_code_makes() -> None:
    assert schemas.stale(EVENTS) == [], "run: python -m shared.schemas --write events/"


@pytest.mark.parametrize("change", ["schema", "readme", "missing", "left over"])
def test_a_difference_is_named_and_writing_mends_it(
    change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(EVENTS, tmp_path / "events")
    schema, readme = folder / "run-failed.schema.json", folder / "README.md"
    match change:
        case "schema":
            schema.write_text(schema.read_text().replace("20000", "30000"))
        case "readme":
            readme.write_text(readme.read_text().replace("### run-failed", "### run-fell"))
        case "missing":
            schema.unlink()
        case _:
            (folder / "run-forgotten.schema.json").write_text("{}")
    assert schemas.main(["--check", str(folder)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert schemas.main(["--write", str(folder)]) == 0
    assert schemas.main(["--check", str(folder)]) == 0


def test_a_readme_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lost its marks"):
        schemas.with_catalogue("# Events\n")


@pytest.mark.parametrize("topic", TYPES)
def test_every_schema_is_one_and_describes_every_field(topic: str) -> None:
    schema = json.loads((EVENTS / f"{topic}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["description"]
    assert all(field.get("description") for field in schema["properties"].values())


@pytest.mark.parametrize("topic", TYPES)
def test_every_event_has_an_example_that_schema_and_decoder_accept(topic: str) -> None:
    body = (EXAMPLES / f"{topic}.json").read_bytes()
    schema = json.loads((EVENTS / f"{topic}.schema.json").read_text())
    jsonschema.validate(json.loads(body), schema, cls=jsonschema.Draft202012Validator)
    event = decode(Delivery(body, topic, message_id="1", publish_time="2026-11-21T20:00:00Z"))
    assert event.type == topic
    assert len(body) < 128 * 1024, "gcloud --message ends there"


def test_there_is_no_example_without_an_event() -> None:
    assert {path.stem for path in EXAMPLES.iterdir()} == set(TYPES)


@pytest.mark.parametrize("topic", TYPES)
def test_schema_and_decoder_agree_about_mistakes(topic: str) -> None:
    """Drop a field, add one, give one another type: both refuse, or both accept."""
    good = json.loads((EXAMPLES / f"{topic}.json").read_text())
    validator = jsonschema.Draft202012Validator(json.loads((EVENTS / f"{topic}.schema.json").read_text()))
    wrong: list[Any] = [good | {"unheard-of": 1}, [], None, 3, "text"]
    for name in good:
        wrong += [{key: value for key, value in good.items() if key != name}]
        others: list[Any] = [None, True, -1, 1.5, "", "x y\n", [], {}, 2**60]
        wrong += [good | {name: value} for value in others]
    for value in wrong:
        if validator.is_valid(value):
            decode(Delivery(json.dumps(value).encode(), topic))
        else:
            with pytest.raises(Permanent):
                decode(Delivery(json.dumps(value).encode(), topic))


def test_every_topic_has_publishers_and_every_subscription_a_topic() -> None:
    assert set(PUBLISHERS) == set(TYPES)
    assert {topic for topics in SUBSCRIBERS.values() for topic in topics} <= set(TYPES)
