"""The pages as a browser without scripts gets them."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from functions.console import packages, rendering
from functions.console.site import HEADERS, Site
from shared.errors import Permanent, Transient
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.model.value import canonical
from shared.ports.store import Put
from tests.console import samples
from tests.console.conftest import Console
from tests.console.documents import NOW, debian, python, verdict
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


# --- hostile names ---

MARKUP = "\"'><script>pwned=1</script><img src=x onerror=pwned=1>&lt;b{{7*7}}\u202e"
_NEEDED = {
    "state",
    "decision",
    "answer",
    "kind",
    "verdicts",
    "result",
    "date",
    "expires",
    "run_id",
    "what",
    "stage",
}
"""What pages decide by, or look other documents up by."""


SOILED = (
    *("runs", "decisions", "verdicts", "spans", "syncs", "vms", "waivers", "waiver_history", "holdings"),
    *("references", "votes", "appraisals", "alarms", "affected", "evictions", "reevaluations", "policies"),
    "dead_letters",
)


def _soiled(value: Any, name: str = "") -> Any:
    """The same with markup in every text, and in the names of maps that documents choose."""
    if isinstance(value, Mapping):
        free = name in ("attestation", "workers", "seconds", "vms") and name != ""
        return {key + (MARKUP if free else ""): _soiled(each, key) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_soiled(each, name) for each in value]
    return value + MARKUP if isinstance(value, str) and name not in _NEEDED else value


@pytest.fixture(scope="module")
def soiled() -> Console:
    """The sample documents, every text of them hostile; the run has the hostile name, too."""
    clean, contents = samples.filled(3)
    store, blobs = MemoryStore(lambda: NOW), MemoryBlobs(lambda: NOW)
    for collection in SOILED:
        for id, fields in clean.everything(collection).items():
            made = _soiled(fields)
            if collection == "votes":
                made["vote"] = json.dumps(_soiled(json.loads(fields["vote"])))
            if "run_id" in made:
                made["run_id"] = made["run_id"] + _NAME
            if collection == "runs":
                made["verdicts"] = blobs.put(canonical(_verdicts(contents, fields["verdicts"])))
                made["waivers"], id = [_soiled(each) for each in fields["waivers"]], id + _NAME
                for each in made.get("attestation", {}).values():
                    each["result"] = blobs.put(canonical(_soiled(json.loads(contents.get(each["result"])))))
            if collection == "verdicts":
                id = packages.document_name(made["run_id"], made["purl"])
            store.put([Put(collection, id, made)])
    key = f"sync{MARKUP}:verdicts-written{MARKUP}:x{MARKUP}"
    store.release(store.claim(key, NOW - 30, 20), f"503 {MARKUP}")
    return Console(store, blobs)


_NAME = MARKUP.replace("/", "")
"""A run's id in an address holds no slash."""


def _verdicts(contents: MemoryBlobs, digest: str) -> Any:
    found = json.loads(contents.get(digest))
    found["verdicts"] = [_soiled(each) for each in found["verdicts"]]
    for each in found["verdicts"]:
        each["package"]["ecosystem"] = each["package"]["ecosystem"].removesuffix(MARKUP)
    return found


def _addresses(of: str) -> Sequence[str]:
    from urllib.parse import quote

    return [path.replace(of, quote(of, safe="")) for path in pages(of)]


@pytest.mark.parametrize("number", range(len(pages(""))))
def test_markup_in_any_field_is_text(soiled: Console, number: int) -> None:
    path = _addresses(run_id(0) + _NAME)[number]
    if "/package?" in path:
        purl = next(
            each["purl"] for each in soiled.store.everything("verdicts").values() if "jinja2" in each["purl"]
        )
        from urllib.parse import urlencode

        path = path.partition("?")[0] + "?" + urlencode({"purl": purl})
    answer = soiled.client.get(path)
    assert answer.status_code == 200, answer.text[-500:]
    text = answer.text
    for raw in ("<script>", "<img", "pwned=1>", "\u202e"):
        assert raw not in text, raw
    if path.endswith("/live"):  # its texts are the console's own, but for the run's name in an address
        assert "%3Cscript%3E" in text
        return
    assert "{{7*7}}" in text  # a template that evaluated it would show 49
    assert text.count("&#34;&#39;&gt;&lt;script&gt;") >= 2


def test_the_soiled_documents_would_do_harm_unescaped(
    soiled: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: without escaping the markup arrives."""
    monkeypatch.setattr(rendering._environment(), "autoescape", False)
    rendering._environment().cache.clear()
    try:
        assert "<script>pwned" in soiled.client.get("/watch").text
    finally:
        monkeypatch.undo()
        rendering._environment().cache.clear()


# --- lists ---


def _shown(text: str) -> list[str]:
    return re.findall(r'<th scope="row"><a class="mono" href="/runs/(run-[0-9a-f]+)"', text)


def test_runs_come_newest_first_and_page_by_page(console: Console) -> None:
    first = console.client.get("/")
    older = re.search(r'href="(/\?after=[^"]+)" rel="next"', first.text)
    assert older
    second = console.client.get(html.unescape(older[1]))
    assert _shown(first.text) + _shown(second.text) == [run_id(number) for number in range(30)]
    assert len(_shown(first.text)) == 25
    assert 'rel="next"' not in second.text
    assert ">Newest</a>" in second.text


def test_the_list_says_what_a_glance_needs(console: Console) -> None:
    text = console.client.get("/").text
    assert text.count("<figure") == 4
    rows = {run: row for row in text.split("<tr>") for run in _shown(row)}
    assert "completed</span>" in rows[run_id(0)]
    assert "running</span>" in rows[run_id(1)]
    assert "failed</span>" in rows[run_id(2)]
    assert "The index has no file of torch" in rows[run_id(2)]
    assert re.search(
        r'<td class="num">134</td>\s*<td class="num"><span class="warn">2</span>', rows[run_id(0)]
    )


def test_a_run_shows_its_refusals_first_with_all_that_is_known(console: Console) -> None:
    text = html.unescape(console.client.get(f"/runs/{run_id(0)}").text)
    blocked, held = text.index("<h3>jinja2"), text.index("<h3>torch")
    assert blocked < held < text.index("What the lock changes")
    card = text[blocked:held]
    for words in (
        *("GHSA-gmj6-6f8f-6699", "CVE-2024-56201", "high", "8.8", "3.1.5", "breakout through file names"),
        *(
            "Replaced by <strong>jinja2 3.1.5",
            "jinja2==3.1.4",
            "Needed by the workload itself",
            "12 rules allowed it",
        ),
    ):
        assert words in card
    assert "Nothing took its place" in text[held:]
    assert "at most 0.01 USD" in text
    assert "No capacity" in text


def test_a_run_draws_the_chain_as_it_stands(console: Console) -> None:
    done = console.client.get(f"/runs/{run_id(0)}/live").text
    assert 'data-ended="yes"' in done
    assert [*re.findall(r'<g class="stage (\w+)"', done)] == ["done"] * 5
    going = console.client.get(f"/runs/{run_id(1)}/live").text
    assert 'data-ended="no"' in going
    assert re.findall(r'<g class="stage (\w+)"', going) == ["done", "done", "running", "waiting", "waiting"]
    assert re.findall(r'<rect class="(done|open)"', going) == ["done", "open"]
    assert "5 of 9 files" in going
    failed = console.client.get(f"/runs/{run_id(2)}/live").text
    assert re.findall(r'<g class="stage (\w+)"', failed) == ["done", "done", "failed", "waiting", "waiting"]


def test_packages_filter_sort_and_page_without_a_script(console: Console) -> None:
    def rows(query: str) -> list[str]:
        text = console.client.get(f"/runs/{run_id(0)}/packages?{query}").text
        return re.findall(r'<th scope="row"><a href="[^"]+">([^<]+)</a>', text)

    assert rows("")[:2] == ["jinja2", "torch"]
    assert len(rows("")) == 50
    assert rows("page=3")[-1] == rows("page=99")[-1]
    assert rows("q=JINJA") == rows("q=cve-2024-56201") == rows("decision=block") == ["jinja2"]
    assert rows("decision=hold&ecosystem=debian") == []
    names = rows("sort=name")
    assert names == sorted(names)
    assert rows("sort=name&order=down")[0] == "zlib1g"
    assert rows("ecosystem=pypi&sort=severity") == ["torch", "jinja2", "humanize"]
    assert rows("ecosystem=pypi&sort=findings")[0] == "jinja2"


def test_events_are_told_with_id_and_attempt(console: Console) -> None:
    text = console.client.get(f"/runs/{run_id(0)}/events").text
    assert "The advisories could not be asked." in text
    assert '<strong class="warn">2</strong>' in text
    assert re.search(r"scanner manifest-published</th><td>\s*<span class=\"badge hold\">", text)
    assert "133 packages" not in text
    assert "may enter" in text


def test_verdicts_that_are_gone_take_nothing_else_with_them(own: Console) -> None:
    digest = own.store.everything("runs")[run_id(0)]["verdicts"]
    own.blobs._content.pop(digest)
    text = html.unescape(own.client.get(f"/runs/{run_id(0)}").text)
    assert f"There is no stored content {digest}" in text
    assert "9 of 9 files" in text


@pytest.mark.parametrize("odd", [math.inf, math.nan, 2**63 - 1, "soon", ["a"], {"a": ["b"]}, None])
def test_one_odd_document_does_not_take_the_lists_with_it(own: Console, odd: object) -> None:
    run = run_id(0)
    fields = {"state": odd, "ended": odd, "planned": odd}
    own.store.put([Put("runs", run, fields, merge=True)])
    own.store.put([Put("reevaluations", "latest", {"packages": odd, "changed": odd}, merge=True)])
    for path in ("/", f"/runs/{run}", f"/runs/{run}/events", "/watch", "/trouble"):
        assert own.client.get(path).status_code == 200, own.logged


def test_the_newest_failure_is_found_among_many() -> None:
    store = MemoryStore()
    failed = {"state": "failed", "workload": "w", "stage": "outer", "reason": "No."}
    store.put([Put("runs", f"run-{n:012x}", {**failed, "ended": NOW - 1000 + n}) for n in range(500)])
    page = Console(store, MemoryBlobs()).client.get("/trouble").text
    assert "run-0000000001f3" in page
    assert "run-000000000000" not in page


def test_an_empty_store_says_how_to_begin() -> None:
    empty = Console(MemoryStore(), MemoryBlobs())
    assert "Nothing has run here yet" in empty.client.get("/").text
    for path in ("/machines", "/waivers", "/trouble", "/repositories", "/watch", "/images"):
        assert empty.client.get(path).status_code == 200


def test_other_pages_hold_what_they_promise(console: Console) -> None:
    def text(path: str) -> str:
        return html.unescape(console.client.get(path).text)

    assert "at most 2.44 USD" in text("/machines")
    assert "in 32 d, or when a fix exists" in text("/waivers")
    assert "The registry answered 503." in text("/trouble")
    assert "x 1 was taken back upstream" in text("/watch")
    assert "134.6 kB" in text("/repositories")
    inner = text(f"/runs/{run_id(0)}/inner")
    assert "dmz: smoke script ended with 0 after 0.3 s" in inner
    assert f"./dmz logs {run_id(0)}" in inner
    assert "line two" in text(f"/runs/{run_id(2)}/inner")
    images = text("/images")
    assert images.count('<use href="#i-ok">') >= 3
    assert "urn:package-dmz:local:rebuilder" in images
    checks = text(f"/runs/{run_id(0)}/attestation")
    assert re.search(r'<td class="num">41</td><th scope="row">image digest</th>', checks)


def test_rows_are_read_once_for_one_digest(console: Console) -> None:
    reads = []

    def content(digest: str) -> bytes:
        reads.append(digest)
        return canonical({"verdicts": [verdict(python("a", "1")), verdict(debian("b", "2"))]})

    shelf = packages.Shelf()
    for digest in ("one", "one", "two", "one"):
        assert [row.name for row in shelf.rows(digest, content).rows] == ["a", "b"]
    assert reads == ["one", "two"]
    for number in range(packages._KEPT):
        shelf.rows(str(number), content)
    shelf.rows("one", content)
    assert reads.count("one") == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"verdicts":[{}]}', b'{"verdicts":[1]}'])
def test_verdicts_of_another_form_are_said_to_be(content: bytes) -> None:
    with pytest.raises(Permanent, match=r"of another form than this console reads"):
        packages.rows(content, "sha256:x")
