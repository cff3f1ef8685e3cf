"""The pages by their addresses, and what holds for every answer.

1. Only GET and HEAD: nothing here changes anything. 2. Who asks from the own machine names it: a page of another site
that was led here by a name of its own (DNS rebinding) does not. 3. Every answer forbids scripts, styles, frames and
connections from elsewhere, and inline ones. 4. Pages are kept by no cache. 5. Trouble is one
sentence, never a traceback.
"""

from __future__ import annotations

import ipaddress
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug.wrappers import Request, Response

from functions.console import changes, letters, operations, rendering, repositories, run_pages, runs
from functions.console.asked import Asked, BadQuestion, NotHere
from functions.console.packages import Shelf
from shared.errors import Permanent, Transient
from shared.model.value import printable
from shared.readings import Readings

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_METHODS = ("GET", "HEAD")
_FOR_EVER = "public, max-age=31536000, immutable"

View = Callable[[Readings, Shelf, Asked], Mapping[str, Any]]
_RUN = r"/runs/(?P<run>[^/]{1,400})"
PAGES: tuple[tuple[re.Pattern[str], str, View], ...] = tuple(
    (re.compile(path), template, view)
    for path, template, view in (
        (r"/", "runs.html", runs.page),
        (_RUN, "run.html", run_pages.overview),
        (_RUN + "/live", "live.html", run_pages.live),
        (_RUN + "/packages", "packages.html", run_pages.packages),
        (_RUN + "/package", "package.html", run_pages.package),
        (_RUN + "/changes", "changes.html", changes.page),
        (_RUN + "/events", "events.html", run_pages.events),
        (_RUN + "/inner", "inner.html", run_pages.inner),
        (_RUN + "/attestation", "attestation.html", run_pages.attestation),
        (r"/machines", "machines.html", operations.machines),
        (r"/waivers", "waivers.html", operations.waivers),
        (r"/trouble", "trouble.html", operations.trouble),
        (r"/dead-letters", "letters.html", letters.page),
        (r"/dead-letters/(?P<letter>[^/]{1,100})", "letter.html", letters.letter),
        (r"/repositories", "repositories.html", repositories.page),
        (r"/watch", "watch.html", repositories.watch),
        (r"/images", "images.html", operations.images),
    )
)


@dataclass(frozen=True)
class Site:
    """All pages over one store."""

    readings: Readings
    clock: Callable[[], float]
    log: Callable[[str], None]
    """Takes what a developer has to see."""
    shelf: Shelf = field(default_factory=Shelf)

    def answer(self, request: Request) -> Response:
        response = self._answer(request)
        response.headers.update(HEADERS)  # 3
        response.headers.setdefault("Cache-Control", "no-store")  # 4
        return response

    def _answer(self, request: Request) -> Response:
        if request.method not in _METHODS:  # 1
            refused = _trouble(405, "The console only shows: it answers GET and HEAD, and changes nothing.")
            refused.headers["Allow"] = ", ".join(_METHODS)
            return refused
        if _from_here(request.remote_addr) and not _this_machine(request.host):  # 2
            said = printable(request.host, 100)
            return _trouble(
                421, f"This address is not called {said}: open the one that ./dmz up has printed."
            )
        try:
            return self._page(request)
        except NotHere as error:  # 5
            return _trouble(404, str(error))
        except BadQuestion as error:
            return _trouble(400, str(error))
        except Transient as error:
            later = _trouble(503, f"{error} Load this page again in a moment.")
            later.headers["Retry-After"] = "5"
            return later
        except Permanent as error:
            return _trouble(500, str(error))
        except Exception:
            self.log(traceback.format_exc())
            return _trouble(500, "The console has a defect on this page; its log says where.")

    def _page(self, request: Request) -> Response:
        path = request.path
        if path.startswith("/assets/"):
            return _static(path.removeprefix("/assets/"))
        for pattern, template, view in PAGES:
            if found := pattern.fullmatch(path):
                asked = Asked(path, self.clock(), found.groupdict(), request.args.to_dict())
                values = {"asked": asked, "now": asked.now, **view(self.readings, self.shelf, asked)}
                return Response(rendering.render(template, values), 200, mimetype="text/html")
        raise NotHere(f"There is no page {printable(path, 200)} here; the list of runs is at the top.")


def _static(name: str) -> Response:
    if name not in rendering.STATIC:
        raise NotHere(f"There is no file {printable(name, 100)} here.")
    found = Response(rendering.static(name), 200, content_type=rendering.STATIC[name])
    found.headers["Cache-Control"] = _FOR_EVER
    return found


def _trouble(status: int, sentence: str) -> Response:
    values = {"status": status, "sentence": sentence, "asked": None}
    return Response(rendering.render("trouble_page.html", values), status, mimetype="text/html")


def _from_here(address: str | None) -> bool:
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    # A socket for both protocols names an IPv4 peer ::ffff:127.0.0.1.
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _this_machine(host: str) -> bool:
    """`127.0.0.1:8080`, `localhost`, `[::1]:8080`: names that nobody else can lead here."""
    name = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
    if name in ("localhost", ""):
        return name == "localhost"
    return _from_here(name.strip("[]"))
