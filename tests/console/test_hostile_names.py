"""Whatever stands in a document is text in a page, in every field of every page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from functions.console import packages, rendering
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.model.value import canonical
from shared.ports.store import Put
from tests.console import samples
from tests.console.conftest import Console
from tests.console.documents import NOW
from tests.console.samples import pages, run_id

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
