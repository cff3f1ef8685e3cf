"""The pages as a browser without scripts gets them."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from functions.console import rendering
from functions.console.site import HEADERS, Site
from shared.errors import Permanent, Transient
from tests.console.conftest import Console
from tests.console.documents import NOW
from tests.console.samples import pages, run_id

EVERY = [*pages(run_id(0)), *pages(run_id(1))[1:9], *pages(run_id(2))[1:9]]


@pytest.mark.parametrize("path", EVERY)
def test_every_page_is_whole(console: Console, path: str) -> None:
    answer = console.client.get(path)
    assert answer.status_code == 200, answer.text[-400:]
    assert console.logged == []
    assert "</html>" in answer.text or path.endswith("/live")
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert answer.headers["Cache-Control"] == "no-store"
    # What the policy forbids would silently not work.
    assert not re.search(r"<style|\sstyle=|<script(?! src=)|\son[a-z]+=|javascript:", answer.text)
    # Whoever cannot see the table hears which header stands above a cell.
    assert "<th>" not in answer.text
    assert answer.text.count("<table") == answer.text.count("<caption")
    ids = re.findall(r'\sid="([^"]+)"', answer.text)
    assert len(ids) == len(set(ids))


def test_the_policy_lets_nothing_in_from_elsewhere() -> None:
    policy = dict(each.strip().partition(" ")[::2] for each in HEADERS["Content-Security-Policy"].split(";"))
    assert policy.pop("default-src") == policy.pop("base-uri") == policy.pop("frame-ancestors") == "'none'"
    assert policy.pop("img-src") == "'self' data:"
    assert set(policy.values()) == {"'self'"}
    assert set(policy) == {"style-src", "script-src", "connect-src", "form-action"}


@pytest.mark.parametrize("path", ["/", "/nowhere", "/assets/console.js"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(console: Console, method: str, path: str) -> None:
    answer = console.client.open(path, method=method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert "changes nothing" in answer.text
    assert answer.headers["Content-Security-Policy"]


def test_head_is_get_without_a_body(console: Console) -> None:
    answer = console.client.head("/")
    assert (answer.status_code, answer.data) == (200, b"")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/nowhere", 404, "There is no page /nowhere here"),
        ("/runs/run-x", 404, "There is no run run-x here"),
        ("/runs/run-x/live", 404, "There is no run run-x here"),
        ("/assets/../main.py", 404, "There is no"),
        ("/assets/other.css", 404, "There is no file other.css"),
        (f"/runs/{run_id(0)}/package?purl=pkg:pypi/nothing@1", 404, "no verdict about pkg:pypi/nothing@1"),
        (f"/runs/{run_id(0)}/package", 400, "The parameter purl is missing"),
        ("/?after=1", 400, "The parameter after is '1'"),
        (f"/runs/{run_id(0)}/packages?sort=rank", 400, "The parameter sort is 'rank'; it is one of decision"),
        (f"/runs/{run_id(0)}/packages?page=0", 400, "The parameter page is '0'"),
        (f"/runs/{run_id(0)}/packages?q={'x' * 201}", 400, "has 201 characters; 200 are read at most"),
    ],
)
def test_what_is_not_there_is_one_sentence(console: Console, path: str, status: int, words: str) -> None:
    answer = console.client.get(path)
    assert answer.status_code == status
    assert words in html.unescape(answer.text)
    assert answer.headers["Content-Security-Policy"]


class _Broken:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (Transient("Reading runs took too long."), 503, "Reading runs took too long. Load this page again"),
        (Permanent("Reading runs was refused."), 500, "Reading runs was refused."),
        (KeyError("<b>secret</b>"), 500, "The console has a defect on this page; its log says where."),
    ],
)
def test_trouble_is_one_sentence_and_no_traceback(error: Exception, status: int, words: str) -> None:
    logged: list[str] = []
    site = Site(_Broken(error), lambda: NOW, logged.append)
    from werkzeug.test import Client
    from werkzeug.wrappers import Request

    answer = Client(Request.application(site.answer)).get("/")
    assert answer.status_code == status
    assert words in answer.text
    assert "Traceback" not in answer.text
    assert "secret" not in answer.text
    assert bool(logged) == isinstance(error, KeyError)


@pytest.mark.parametrize(
    ("host", "peer", "status"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 200),
        ("localhost:8080", "127.0.0.1", 200),
        ("[::1]:8080", "::1", 200),
        ("attacker.example:8080", "127.0.0.1", 421),
        ("attacker.example:8080", "::ffff:127.0.0.1", 421),
        ("localhost.attacker.example", "127.0.0.1", 421),
        ("127.0.0.1.attacker.example", "127.0.0.1", 421),
        ("console-abc-uc.a.run.app", "169.254.169.126", 200),
    ],
)
def test_a_page_of_another_site_is_not_led_here(console: Console, host: str, peer: str, status: int) -> None:
    answer = console.client.get("/", headers={"Host": host}, environ_base={"REMOTE_ADDR": peer})
    assert answer.status_code == status


def test_no_secret_of_a_vm_is_in_any_page(console: Console) -> None:
    assert (console.store.get("vms", "dmz-inner-602deee79b48") or {})["report_token"] == "S3CRET-TOKEN"
    for path in EVERY:
        assert "S3CRET" not in console.client.get(path).text
    assert "dmz-inner-602deee79b48" in console.client.get("/machines").text


def test_assets_are_kept_for_ever_under_an_address_of_their_own(console: Console) -> None:
    for name, media_type in rendering.STATIC.items():
        address = rendering.address(name)
        assert address in console.client.get("/").text
        answer = console.client.get(address)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, media_type)
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
