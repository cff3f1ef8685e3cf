"""The topic of a report may be another project's than the repositories."""

from __future__ import annotations

import json

import pytest

from shared.guest import report
from shared.guest.metadata import Metadata
from tests.guest.parts import Answer, config, server, token_answer


@pytest.mark.parametrize(("events_project", "asked"), [("", "proj"), ("dmz-outer", "dmz-outer")])
def test_a_report_goes_to_the_project_of_the_events(
    events_project: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []

    def answer(method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        if path.endswith("/token"):
            return token_answer()
        assert method == "POST"
        assert headers["Authorization"]
        assert json.loads(body)["messages"]
        paths.append(path)
        return 200, b"{}"

    with server(answer) as url:
        monkeypatch.setattr(report, "HOST", url)
        report.publish(config("inner", events_project=events_project), Metadata(url), {})
    assert paths == [f"/v1/projects/{asked}/topics/inner-install-completed:publish"]
