"""OSV.dev in small, and a clock for those who wait for it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from shared.advisories.api import OsvApi
from shared.advisories.calls import Waiting
from tests.advisories.build import events
from tests.advisories.server import Answer

BELOW_2 = events(("introduced", "0"), ("fixed", "2.0"))


class Osv:
    """Answers as OSV.dev does: ids and dates for a batch, in pages of `page`, and records by id."""

    def __init__(self, *records: dict[str, Any], page: int = 100) -> None:
        self.records = {one["id"]: one for one in records}
        self.page = page
        self.batches: list[list[dict[str, Any]]] = []
        self.fetched: Counter[str] = Counter()
        self.broken: dict[str, Answer] = {}
        """Path to what is answered instead, always."""
        self.once: dict[str, list[Answer]] = {}
        """Path to what is answered before."""

    def __call__(self, method: str, path: str, body: bytes) -> Answer:
        if self.once.get(path):
            return self.once[path].pop(0)
        if path in self.broken:
            return self.broken[path]
        if (method, path) == ("POST", "/v1/querybatch"):
            queries = json.loads(body)["queries"]
            self.batches.append(queries)
            return 200, json.dumps({"results": [self._result(one) for one in queries]}).encode()
        id = path.removeprefix("/v1/vulns/")
        self.fetched[id] += 1
        if method != "GET" or id not in self.records:
            return 404, b'{"code":5,"message":"Bug not found."}'
        return 200, json.dumps(self.records[id]).encode()

    def _result(self, asked: dict[str, Any]) -> dict[str, Any]:
        ids = [
            {"id": one["id"], "modified": one["modified"]}
            for one in self.records.values()
            if any(entry["package"] == asked["package"] for entry in one["affected"])
            and asked.get("version") not in one.get("hidden_from", ())
        ]
        start = int(asked.get("page_token", 0))
        result: dict[str, Any] = {"vulns": ids[start : start + self.page]} if ids[start:] else {}
        if len(ids) > start + self.page:
            result["next_page_token"] = str(start + self.page)
        return result


class Time:
    """Passes by being waited for."""

    def __init__(self) -> None:
        self.now, self.waits = 0.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)

    def waiting(self) -> Waiting:
        return Waiting(now=lambda: self.now, sleep=self.sleep, chance=lambda: 0.5)


def api(url: str) -> OsvApi:
    return OsvApi(url, waiting=Time().waiting())
