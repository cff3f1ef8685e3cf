"""A package world of its own for the chain: index, apt repository, advisories, a file by URL. All on loopback."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.advisories import build
from tests.chain.goods import BACKEND, Deb, Shelf, module, publish_suite, source
from tests.chain.proxy import Proxy
from tests.support import built
from tests.upstream.conftest import Signer
from tests.upstream.support import Reply, Request, Route, Web

HOST = "upstream.pkg.dev"
"""Where outer VMs find the mirror: below a zone that the local authority may speak for."""
URL = f"https://{HOST}/generic/table.csv"
CONTENT = b"a,b\n1,2\n"
SYNC = "package-dmz"
"""User agent of the stages: tells their requests from a VM's."""

COURIER_1_0, COURIER_1_1 = module("courier", "1.0", "rate = 10"), module("courier", "1.1", "rate = 11")
COURIER_2_0 = module("courier", "2.0", "rate = 20")
DEPOT = built.wheel("depot", "1.0", ("courier<2",), text="\nimport courier\nrate = courier.rate")
SMALLBUILD = module("smallbuild", "1.0", BACKEND)
CRATE = source("crate", "3.0", "smallbuild")
DEADLY = module("deadly", "1.0", "")
"""Every version of it is refused."""
OWN = module("mine", "0.1", "mine = True")
LIBRARY, PROGRAM = Deb("dmz-library", "1.2-1"), Deb("dmz-program", "2.0-1", "dmz-library (>= 1.0)")

# The image's own pip serves the environment: a second saved in each VM of each test.
INSTALL = """\
python3 -m venv --without-pip /opt/work
python3 -m pip --python /opt/work/bin/python install --progress-bar off depot
"""
EVERYTHING = f"""\
if getent hosts pypi.org || curl --silent --max-time 3 --output /dev/null https://151.101.0.223; then
  echo "this VM can leave the machine"; exit 1
fi
python3 -m venv /opt/work
/opt/work/bin/pip install --progress-bar off depot crate mine
dmz-fetch {URL} /opt/work/table.csv
"""
SMOKE = """\
/opt/work/bin/python -c 'import depot, crate, mine; print("rate", depot.rate, "crate", crate.version)'
dpkg -s dmz-library > /dev/null
grep -q 1,2 /opt/work/table.csv
"""


@dataclass
class Hold:
    """Keeps an answer back: the place where a test wants a stage to be when it kills it."""

    only: Callable[[Request], bool] = lambda _request: True
    reached: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def around(self, route: Route) -> Callable[[Request], Reply]:
        def answer(request: Request) -> Reply:
            if self.only(request) and not self.go.is_set():
                self.reached.set()
                self.go.wait(600)
            return route(request) if callable(route) else route

        return answer


def from_stage(request: Request) -> bool:
    return request.headers.get("user-agent", "").startswith(SYNC)


def flaw(id: str, name: str, *pairs: tuple[str, str]) -> dict[str, Any]:
    """A record about versions of a package of PyPI, as OSV has it."""
    entry = build.affected(build.events(*pairs), name=name)
    return build.record(id, entry, severity=[build.HIGH], modified=_now())


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class World:
    """Serves everything until `close`."""

    def __init__(self, directory: Path, signer: Signer) -> None:
        self.web, self.directory, self.signer = Web(), directory, signer
        self.proxy = Proxy(HOST, self.web)
        self.shelf = Shelf(self.web)
        for file in (COURIER_1_0, COURIER_1_1, COURIER_2_0):
            self.shelf.add("courier", file)
        self.shelf.add("depot", DEPOT)
        self.shelf.add("smallbuild", SMALLBUILD)
        self.shelf.add("crate", CRATE)
        self.shelf.add("deadly", DEADLY)
        self.web.routes["/generic/table.csv"] = Reply(CONTENT)
        self.publish_suites()
        self.publish_advisories()
        self._keys()

    def publish_suites(self, signer: Signer | None = None) -> None:
        signer = signer or self.signer
        publish_suite(self.web, signer, "/debian", "trixie", (LIBRARY, PROGRAM))
        publish_suite(self.web, signer, "/debian", "trixie-updates")
        publish_suite(self.web, signer, "/security", "trixie-security")

    def publish_advisories(self, *more: dict[str, Any]) -> None:
        """What OSV's zips hold from now on: two flaws, and `more` of `flaw`."""
        pypi = (
            flaw("GHSA-courier", "courier", ("introduced", "0"), ("fixed", "1.1")),
            flaw("GHSA-deadly", "deadly", ("introduced", "0")),
            *more,
        )
        unrelated = build.affected(
            build.events(("introduced", "0"), ("fixed", "2.0")), name="nothing-we-have", ecosystem="Debian:13"
        )
        for ecosystem, records in (
            ("PyPI", pypi),
            ("Debian", (build.record("DSA-1", unrelated, modified=_now()),)),
        ):
            # A stage may be reading the one that is there.
            made = build.zipped(self.directory / "news", ecosystem, *records) / ecosystem / "all.zip"
            (self.advisories / ecosystem).mkdir(parents=True, exist_ok=True)
            made.replace(self.advisories / ecosystem / "all.zip")

    def hold(self, path: str, only: Callable[[Request], bool] = from_stage) -> Hold:
        """From now on the answer at `path` waits for `go`."""
        hold = Hold(only)
        self.web.routes[path] = hold.around(self.web.routes[path])
        return hold

    def offer(self, url: str, content: bytes) -> None:
        """From now on `url`, which is below HOST, gives `content`."""
        self.web.routes[urlsplit(url).path] = Reply(content)

    def fetched(self, path: str) -> int:
        """How often the stages have asked for it; for its size alone does not count."""
        asked = self.web.asked(path)
        return len([request for request in asked if request.method != "HEAD" and from_stage(request)])

    def environment(self) -> dict[str, str]:
        """What a platform needs to live in this world, and in no other."""
        mirror = f"https://{HOST}"
        return {
            "DMZ_PYTHON_INDEX": f"{self.web.url}/simple/",
            "DMZ_DEBIAN_MIRROR": f"{self.web.url}/debian",
            "DMZ_DEBIAN_SECURITY_MIRROR": f"{self.web.url}/security",
            "DMZ_KEYRINGS": str(self.directory / "keyrings"),
            "DMZ_OUTER_PYTHON_INDEX": f"{mirror}/simple/",
            "DMZ_OUTER_DEBIAN_MIRROR": f"{mirror}/debian",
            "DMZ_OUTER_DEBIAN_SECURITY_MIRROR": f"{mirror}/security",
            "DMZ_OUTER_DEBIAN_KEY": self.armored(),
            "DMZ_OUTER_HOSTS": f"{HOST}={self.web.url}",
            "DMZ_OUTER_INTERNET": "no",
            # Whatever a stage wants beyond this machine shows here. Upper case alone: apt, which builds the root
            # image of the day, does not read it.
            "HTTPS_PROXY": self.proxy.url,
            "HTTP_PROXY": self.proxy.url,
            "SSL_CERT_FILE": str(self.directory / "authority.pem"),
        }

    @property
    def port(self) -> int:
        return int(urlsplit(self.web.url).port or 0)

    @property
    def advisories(self) -> Path:
        return self.directory / "osv"

    def armored(self) -> str:
        command = [
            "gpg",
            "--homedir",
            self.signer.home,
            "--batch",
            "--armor",
            "--export",
            self.signer.fingerprint,
        ]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def close(self) -> None:
        self.web.close()
        self.proxy.close()

    def _keys(self) -> None:
        keyrings = self.directory / "keyrings"
        keyrings.mkdir()
        (keyrings / "debian-13.gpg").write_bytes(self.signer.keyring.read_bytes())
        (self.directory / "authority.pem").write_text(self.proxy.pem)
