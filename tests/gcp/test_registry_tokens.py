"""A token that Artifact Registry takes for expired while its holder does not: clocks differ, and a new one may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from google.auth.credentials import Credentials

from shared.errors import Transient
from tests.emulators.registry.support import WRITER
from tests.gcp.test_registry_faults import KINDS, Shop, shop, signing_key

__all__ = ["shop", "signing_key"]


@dataclass
class Issuer:
    """Gives tokens of these lifetimes in seconds, the last one again and again; all are said to last for long."""

    shop: Shop
    lifetimes: list[int]
    given: list[str] = field(default_factory=list)

    def credentials(self) -> Any:
        issuer = self

        class Held(Credentials):
            def refresh(self, request: object) -> None:
                left = issuer.lifetimes
                self.token = issuer.shop.emulator.token(WRITER, left.pop(0) if len(left) > 1 else left[0])
                issuer.given.append(self.token)

        return Held()  # type: ignore[no-untyped-call]


@pytest.fixture
def late(shop: Shop) -> Issuer:
    """The first token has expired already, the second one has not."""
    issuer = Issuer(shop, [-5, 3600])
    shop.client.__dict__["_credentials"] = issuer.credentials()
    shop.client.__dict__.pop("_client", None)
    return issuer


@pytest.mark.parametrize("kind", KINDS)
def test_an_upload_is_tried_again_with_a_new_token(late: Issuer, kind: str) -> None:
    late.shop.upload(kind)
    assert late.shop.held(kind) == 1
    assert len(late.given) == 2


def test_so_are_a_listing_and_a_download(late: Issuer, tmp_path: Any) -> None:
    assert late.shop.held("generic") == 0
    late.shop.upload("generic")
    late.shop.client._credentials.token = late.shop.emulator.token(WRITER, -5)
    late.shop.client.download_generic("files", "generic", "1", "file", tmp_path / "again", 7)
    assert (tmp_path / "again").read_bytes() == b"content"


def test_if_no_token_is_taken_the_event_comes_again_and_the_reason_says_why(late: Issuer) -> None:
    late.lifetimes[:] = [-5]
    with pytest.raises(Transient, match=r"\(401\): .*access token of writer@x.test has expired"):
        late.shop.upload("python")
    with pytest.raises(
        Transient, match=r"Listing the repository py .*access token of writer@x.test has expired"
    ):
        late.shop.held("python")
