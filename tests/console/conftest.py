"""A console over documents in memory, called in process or served to a browser. One browser for all tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from werkzeug.serving import make_server
from werkzeug.test import Client
from werkzeug.wrappers import Request

from functions.console.site import Site
from shared.memory.store import MemoryBlobs, MemoryStore
from tests.console import samples

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *(
        "--disable-component-update",
        "--disable-sync",
        "--force-color-profile=srgb",
        "--font-render-hinting=none",
    ),
)


@dataclass
class Console:
    """A site, the store below it, and what it logged."""

    store: MemoryStore
    blobs: MemoryBlobs
    logged: list[str] = field(default_factory=list)

    @property
    def site(self) -> Site:
        return samples.site(self.store, self.blobs, self.logged.append)

    @property
    def client(self) -> Client:
        return Client(Request.application(self.site.answer))


@pytest.fixture(scope="package")
def console() -> Console:
    """Thirty runs; nobody writes to it."""
    return Console(*samples.filled())


@pytest.fixture
def own() -> Console:
    """Three runs, for tests that change something."""
    return Console(*samples.filled(3))


Serve = Callable[[Console], str]


@pytest.fixture(scope="package")
def serve() -> Iterator[Serve]:
    """Gives the address of a console on a port of its own."""
    servers = []

    def started(console: Console) -> str:
        server = make_server("127.0.0.1", 0, Request.application(console.site.answer), threaded=True)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield started
    for server in servers:
        server.shutdown()


@pytest.fixture(scope="package")
def address(serve: Serve, console: Console) -> str:
    return serve(console)


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM.exists(), f"{CHROMIUM} is missing: install Debian's package chromium (./dmz test does)."
    home = tmp_path_factory.mktemp("chromium")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, env={"HOME": str(home), "XDG_CONFIG_HOME": str(home)}
        )
        yield made
        made.close()


@dataclass
class Tab:
    """A page of the browser that remembers everything that went wrong in it."""

    page: Page
    troubles: list[str] = field(default_factory=list)


@pytest.fixture
def tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Makes pages; at the end none of them may have seen an error, a dialog or a request to elsewhere."""
    made: list[Tab] = []

    def opened(**options: Any) -> Tab:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        one = Tab(context.new_page())
        page, said = one.page, one.troubles
        page.on(
            "console",
            lambda message: said.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda r: None if "//127.0.0.1:" in r.url else said.append(f"asked for {r.url}"))
        made.append(one)
        return one

    yield opened
    for one in made:
        one.page.context.close()
        assert one.troubles == []
