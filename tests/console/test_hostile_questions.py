"""Whatever a browser asks for: a page, or one sentence with 400 or 404. Never 500, never a traceback."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import Client

from functions.console.site import PAGES
from shared.errors import Permanent
from shared.ports.store import Put
from tests.console import samples
from tests.console.conftest import Console
from tests.console.samples import pages, run_id

ODD = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            *(
                "",
                ".",
                "..",
                "/",
                "//",
                "%",
                "%00",
                "%2e%2e%2f",
                "\x00",
                "\ud7ff",
                "\U0010ffff",
                "~",
                "__x__",
            ),
            *(
                "x" * 1001,
                "é" * 700,
                "x" * 8000,
                "1e999",
                "-1",
                "0",
                "nan",
                "inf",
                "9" * 400,
                "~~~",
                "1~",
                "1~~",
            ),
            *("1.5~" + "x" * 1000, "1~" + "é" * 600, "1~/", "1~__a__", "sha256:" + "0" * 64, "pkg:", "run-x"),
            *("'; --", "<script>", "${7*7}", "{{7*7}}", "..\\..", "\u202e", "١", "²"),
        ]
    ),
)
NAMES = st.sampled_from(
    ["after", "page", "q", "sort", "order", "decision", "ecosystem", "purl", "kind", "repository", "x"]
)
QUERY = st.dictionaries(NAMES, ODD, max_size=4)
HERE = [path.partition("?")[0] for path in pages(run_id(0))]
PATHS = st.one_of(
    st.sampled_from(HERE),
    ODD.map(lambda odd: f"/runs/{quote(odd, safe='', errors='replace')}"),
    st.tuples(
        ODD, st.sampled_from(["live", "packages", "package", "events", "inner", "attestation", "changes"])
    ).map(lambda both: f"/runs/{quote(both[0], safe='', errors='replace')}/{both[1]}"),
    ODD.map(lambda odd: f"/dead-letters/{quote(odd, safe='', errors='replace')}"),
    ODD.map(lambda odd: f"/{quote(odd, errors='replace')}"),
    ODD.map(lambda odd: f"/assets/{quote(odd, errors='replace')}"),
)


def asked(client: Client, logged: list[str], path: str, query: dict[str, str]) -> None:
    answer = client.get(path, query_string=query) if query else client.get(path)
    assert answer.status_code in (200, 400, 404), (path, query, logged[-1:])
    assert logged == []
    assert "Traceback" not in answer.text
    assert answer.headers["Content-Security-Policy"]
    if answer.status_code != 200:
        assert len(answer.text) < 5000
        assert '<p class="lead">' in answer.text


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(path=PATHS, query=QUERY)
def test_any_address_has_an_answer(console: Console, path: str, query: dict[str, str]) -> None:
    asked(console.client, console.logged, path, query)


def test_every_page_is_among_those_that_are_asked() -> None:
    for pattern, _, _ in PAGES:
        assert any(pattern.fullmatch(path) for path in HERE), pattern.pattern


LONG = (
    f"/runs/{'é' * 400}",
    f"/runs/{'%F4%8F%BF%BF' * 300}/events",
    f"/?after=1~{'é' * 600}",
    f"/?after=1~{'%ED%A0%80'}",
    f"/dead-letters/{'é' * 100}",
    f"/runs/{run_id(0)}/package?purl={'é' * 2000}",
    f"/runs/{run_id(0)}/events?after=1~{'x' * 1000}",
    f"/repositories?q={'é' * 200}",
    "/repositories?repository=__name__&after=1~__x__",
    "/runs/%00",
    "/runs/__x__",
)


@pytest.mark.parametrize("path", LONG, ids=lambda path: path[:24])
def test_a_name_longer_than_any_document_has_is_not_there(console: Console, path: str) -> None:
    """That Firestore is not even asked for such a name: tests/contract/test_readings.py."""
    asked(console.client, console.logged, path, {})


ANY: Any = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.text(max_size=8),
        st.binary(max_size=4),
    ),
    lambda inner: st.one_of(
        st.lists(inner.filter(lambda one: not isinstance(one, list)), max_size=3),
        st.dictionaries(st.text(min_size=1, max_size=4), inner, max_size=3),
    ),
    max_leaves=5,
)
COLLECTIONS = (
    "runs",
    "spans",
    "dead_letters",
    "holdings",
    "waivers",
    "vms",
    "affected",
    "alarms",
    "references",
)


@pytest.fixture(scope="module")
def filled() -> Console:
    return Console(*samples.filled(3))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    odd=ANY, collection=st.sampled_from(COLLECTIONS), path=st.sampled_from(pages(run_id(0))), data=st.data()
)
def test_one_document_of_any_form_takes_no_page_with_it(
    filled: Console, odd: Any, collection: str, path: str, data: st.DataObject
) -> None:
    """Written by an older or a newer version, or by hand."""
    id, fields = data.draw(st.sampled_from(sorted(filled.store.everything(collection).items())))
    name = data.draw(st.sampled_from(sorted(fields)))
    try:
        filled.store.put([Put(collection, id, {**fields, name: odd})])
        answer = filled.client.get(path)
    except Permanent:
        return  # the store takes no such document
    finally:
        filled.store.put([Put(collection, id, fields)])
    assert answer.status_code in (200, 404), (path, collection, name, odd, filled.logged)
    assert filled.logged == []
