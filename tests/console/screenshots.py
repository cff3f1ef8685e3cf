"""`python -m tests.console.screenshots [DIR]`: the pictures of docs/console.md, out of sample documents of one hour."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright
from werkzeug.serving import make_server
from werkzeug.wrappers import Request

from tests.console import samples
from tests.console.conftest import CHROMIUM, FLAGS
from tests.console.samples import run_id

HERE = Path(__file__).parents[2] / "docs" / "console"
PICTURES = (
    ("runs", "/", "light", 1280, 900),
    ("run", f"/runs/{run_id(0)}", "light", 1280, 1420),
    ("run-dark", f"/runs/{run_id(1)}", "dark", 1280, 760),
    ("packages", f"/runs/{run_id(0)}/packages", "light", 1280, 760),
    ("events", f"/runs/{run_id(0)}/events", "light", 1280, 820),
    ("trouble", "/trouble", "light", 1280, 900),
    ("phone", f"/runs/{run_id(1)}", "dark", 390, 844),
)
"""(name, address, scheme, width, height)."""


def main(to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    site = samples.site(*samples.filled())
    server = make_server("127.0.0.1", 0, Request.application(site.answer), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for name, path, scheme, width, height in PICTURES:
            context = browser.new_context(
                color_scheme="dark" if scheme == "dark" else "light",
                viewport={"width": width, "height": height},
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}{path}")
            page.screenshot(path=to / f"{name}.png")
            context.close()
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
