"""Artifact Registry's answers that are none: cut short, of another kind, and said in other words."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from shared.errors import Transient
from shared.patience import Busy
from shared.ports.registry import Stored
from tests.gcp.test_registry_faults import KINDS, STORES, Shop, shop, signing_key

__all__ = ["shop", "signing_key"]


def list_fault(shop: Shop, count: int, **action: Any) -> None:
    shop.emulator.order(method="GET", path="/files$", count=count, action=action)


def answering(shop: Shop, *answers: httpx.Response) -> None:
    """The service's next answers to what is not a listing; the last one again and again."""
    left = list(answers)
    transport = httpx.MockTransport(lambda _request: left.pop(0) if len(left) > 1 else left[0])
    shop.client.__dict__["_http"] = httpx.Client(transport=transport)


# --- listings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 503])
def test_a_listing_keeps_away_for_as_long_as_it_is_asked_to(shop: Shop, code: int) -> None:
    list_fault(shop, 2, kind="status", code=code, retry_after=7)
    assert shop.client.stored("py") == []
    assert [7 < pause < 9 for pause in shop.pauses] == [True, True]


def test_a_listing_that_is_asked_to_keep_away_for_ten_years_ends_the_delivery(shop: Shop) -> None:
    list_fault(shop, 9, kind="status", code=429, retry_after=10 * 365 * 86_400)
    with pytest.raises(Busy, match=r"Listing the repository py did not succeed for now: .* left alone for"):
        shop.client.stored("py")
    assert shop.pauses == []


def test_a_listing_that_breaks_off_is_asked_again(shop: Shop) -> None:
    shop.upload("python")
    list_fault(shop, 2, kind="cut_reply", after_bytes=20)
    assert shop.held("python") == 1
    assert len(shop.pauses) == 2


def test_a_listing_that_always_breaks_off_is_a_sentence(shop: Shop) -> None:
    shop.upload("python")
    list_fault(shop, 99, kind="cut_reply", after_bytes=20)
    with pytest.raises(Transient, match=r"^Listing the repository py broke off: "):
        shop.client.stored("py")
    assert len(shop.pauses) == 4


@pytest.mark.parametrize("spelled", ["1.0+cpu", "1.0%2Bcpu"])
def test_a_version_is_found_however_the_service_spells_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, spelled: str
) -> None:
    """It is documented that slashes are escaped in a version's name; of a plus, gcloud itself knows both."""
    asked: list[str] = []
    stored = Stored("py", "thing.whl", "sha256:" + "0" * 64, 1)

    def listed(_repository: str, only: str) -> list[Stored]:
        asked.append(only)
        return [stored] if only.endswith(f'/packages/lib/versions/{spelled}"') else []

    monkeypatch.setattr(shop.client, "_listed", listed)
    assert shop.client.find("py", [("lib", "1.0+cpu")]) == [stored]
    assert len(asked) == 2
    assert shop.client.find("py", [("lib", "1.0")]) == []
    assert len(asked) == 3


# --- uploads ----------------------------------------------------------------------------------------------------

NONE = {
    "nothing": b"",
    "HTML": b"<html>captive</html>",
    "a list": b"[]",
    "no operation": b'{"operation": null}',
    "text": b'"taken"',
}


@pytest.mark.parametrize("what", NONE)
@pytest.mark.parametrize("kind", ["apt", "generic"])
def test_an_answer_that_names_no_operation(shop: Shop, kind: str, what: str) -> None:
    """Somebody in between has answered: asked again, and told at the end."""
    answering(shop, httpx.Response(200, content=NONE[what]))
    with pytest.raises(Transient, match=r"^Uploading .* is answered with what is no operation"):
        shop.upload(kind)
    assert len(shop.pauses) == 4


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"done": true, "error": "late"}'])
def test_an_operation_that_is_none(shop: Shop, content: bytes) -> None:
    begun = httpx.Response(200, json={"operation": {"name": "projects/p/locations/l/operations/o"}})
    answering(shop, begun, httpx.Response(200, content=content))
    with pytest.raises(Transient, match="what is no operation"):
        shop.upload("generic")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_answered_like_a_success_and_not_kept_is_not_listed(shop: Shop, kind: str) -> None:
    """Nothing here takes the word for the deed: whoever closes the run asks for the hash, and misses it."""
    done = {"done": True, "response": {}, "name": "operations/o"}
    answering(shop, httpx.Response(200, json={"operation": done}), httpx.Response(200, json=done))
    shop.upload(kind)
    assert shop.client.stored(STORES[kind]) == []


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(409, text="conflict"),
        httpx.Response(400, text="File already exist: thing-1.0"),
        httpx.Response(400, text="", extensions={"reason_phrase": b"File already exists"}),
    ],
    ids=["409", "400 in other words", "400 in the status line"],
)
def test_a_wheel_that_is_there_already_however_it_is_said(shop: Shop, answer: httpx.Response) -> None:
    """As twine knows these answers: compared by the hash, never assumed."""
    shop.upload("python")
    answering(shop, answer)
    shop.upload("python")
    with pytest.raises(Exception, match="somebody put other bytes under this name"):
        shop.upload("python", text="other")
