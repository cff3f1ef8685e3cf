"""What happens in which order: the drawings of docs/drawings that follow from shared.model.routes.

Each arrow is an event; who sends it and who hears it must be what `PUBLISHERS` and `SUBSCRIBERS` say. What is drawn
dashed is no event: a call, or what somebody does meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.events import PUBLISHERS, SUBSCRIBERS
from tests.docs import svg


@dataclass(frozen=True)
class Says:
    """An event from one to another."""

    sender: str
    topic: str
    hearer: str


@dataclass(frozen=True)
class Calls:
    """Something that one asks of another without an event."""

    caller: str
    words: str
    called: str


@dataclass(frozen=True)
class Does:
    """What somebody does."""

    who: str
    words: str


Step = Says | Calls | Does


@dataclass(frozen=True)
class Drawn:
    """One drawing."""

    title: str
    description: str
    lanes: tuple[str, ...]
    hostile: tuple[str, ...]
    """Lanes whose words are claims."""
    sealed: tuple[str, ...]
    """Lanes inside the network without a way out."""
    steps: tuple[Step, ...]


RUN = Drawn(
    title="The events of one run",
    description="From run-requested to run-completed: who publishes which event, and who handles it.",
    lanes=(
        "operator",
        "outer VM",
        "outer",
        "scanner",
        "sync",
        "inner",
        "inner VM",
        "attestation",
        "data services",
    ),
    hostile=("outer VM",),
    sealed=("inner VM", "data services"),
    steps=(
        Says("operator", "run-requested", "outer"),
        Calls("outer", "creates", "outer VM"),
        Does("outer VM", "installs from the internet, lists what it has"),
        Says("outer VM", "outer-install-completed", "outer"),
        Does("outer", "stores the claim as a manifest, deletes the VM"),
        Says("outer", "manifest-published", "scanner"),
        Does("scanner", "gives every package a verdict"),
        Says("scanner", "verdicts-written", "sync"),
        Does("sync", "lock with replacements, plan in shards"),
        Says("sync", "sync-shard-planned", "sync"),
        Does("sync", "fetches, proves, uploads; the last shard closes"),
        Says("sync", "sync-completed", "inner"),
        Calls("inner", "creates", "inner VM"),
        Does("inner VM", "installs the lock, runs smoke, tries to get out"),
        Says("inner VM", "inner-install-completed", "inner"),
        Does("inner", "compares with base image plus lock"),
        Says("inner", "nonce-requested", "attestation"),
        Says("attestation", "nonce-issued", "data services"),
        Says("data services", "attestation-requested", "attestation"),
        Does("attestation", "numbered checks of the token"),
        Says("attestation", "attestation-appraised", "inner"),
        Says("inner", "run-completed", "operator"),
    ),
)

AGAIN = Drawn(
    title="What is held is judged again",
    description="From advisories-refreshed, or a waiver, to package-evicted: nobody starts a run for it.",
    lanes=("Cloud Scheduler", "operator", "scanner", "sync", "repositories", "outer"),
    hostile=(),
    sealed=("repositories",),
    steps=(
        Says("Cloud Scheduler", "advisories-refreshed", "sync"),
        Says("operator", "waiver-granted", "scanner"),
        Says("scanner", "advisories-refreshed", "sync"),
        Calls("sync", "lists all files", "repositories"),
        Says("sync", "holdings-listed", "scanner"),
        Does("scanner", "judges all of it by what is known now"),
        Says("scanner", "verdict-changed", "sync"),
        Calls("sync", "deletes the version", "repositories"),
        Does("sync", "gone is what is not listed any more"),
        Says("sync", "package-evicted", "operator"),
        Says("sync", "run-requested", "outer"),
    ),
)
"""The last one only for a run that failed over nothing but holds that have ended, and once."""

ATTESTATION = Drawn(
    title="How a data service proves what it runs",
    description="Builders' statements become a reference value; nonce, token and appraisal answer the inner stage.",
    lanes=("independent rebuilders", "inner", "attestation", "data services"),
    hostile=(),
    sealed=("data services",),
    steps=(
        Says("independent rebuilders", "image-built", "attestation"),
        Does("attestation", "a threshold agrees on everything: reference value"),
        Says("inner", "nonce-requested", "attestation"),
        Says("attestation", "nonce-issued", "data services"),
        Does("data services", "launcher: a token for this nonce"),
        Says("data services", "attestation-requested", "attestation"),
        Does("attestation", "every numbered check, once for each nonce and token"),
        Says("attestation", "attestation-appraised", "inner"),
        Does("inner", "accepted: run-completed; refused: run-failed"),
    ),
)

DRAWN = {"run.svg": RUN, "again.svg": AGAIN, "attestation.svg": ATTESTATION}

_WIDTH, _TOP, _ROW = 1000, 64, 33
_ANYBODY = "operator"
"""Stands for whoever subscribes to what no stage hears."""


def mistakes(drawn: Drawn) -> Iterator[str]:
    """Arrows that the tables of the code do not have."""
    for step in drawn.steps:
        if not isinstance(step, Says):
            continue
        if step.sender not in PUBLISHERS[step.topic]:
            yield f"{step.sender} does not publish {step.topic}"
        hearers = [stage for stage, topics in SUBSCRIBERS.items() if step.topic in topics]
        readers = {"nonce-issued": "data services"}
        if step.hearer not in (hearers or [readers.get(step.topic, _ANYBODY)]):
            yield f"{step.hearer} does not hear {step.topic}"


def drawing(drawn: Drawn) -> str:
    """The SVG."""
    gap = _WIDTH / len(drawn.lanes)
    x = {lane: gap * (at + 0.5) for at, lane in enumerate(drawn.lanes)}
    height = _TOP + _ROW * (len(drawn.steps) + 1) + 26
    parts = [*_lanes(drawn, x, gap, height)]
    for at, step in enumerate(drawn.steps):
        parts += _step(step, x, _TOP + _ROW * (at + 1))
    parts += _legend(drawn, height)
    return svg.document(_WIDTH, height, drawn.title, drawn.description, parts)


def _lanes(drawn: Drawn, x: dict[str, float], gap: float, height: int) -> Iterator[str]:
    for lane, middle in x.items():
        kind = "hostile" if lane in drawn.hostile else "sealed" if lane in drawn.sealed else "own"
        yield svg.box(middle - gap / 2 + 4, 14, gap - 8, 34, kind)
        yield svg.text(middle, 36, lane, size=14 if len(lane) * 9 < gap else svg.SMALLEST, bold=True)
        yield svg.line(middle, 48, middle, height - 34, "lane")


def _step(step: Step, x: dict[str, float], y: float) -> Sequence[str]:
    if isinstance(step, Does):
        half = len(step.words) * 4
        middle = min(max(x[step.who], half + 12), _WIDTH - half - 12)
        return (svg.text(middle, y + 4, step.words, kind="said"),)
    if isinstance(step, Calls):
        start, end, words, kind = x[step.caller], x[step.called], step.words, "call"
    else:
        start, end, words, kind = x[step.sender], x[step.hearer], step.topic, "event"
    if start == end:
        way = f"M{start:g} {y - 8:g} h36 v14 h-33"
        return (svg.path(way, kind), svg.text(start + 44, y + 3, words, kind=f"name-{kind}", anchor="start"))
    stop = end - 4 if end > start else end + 4
    half = len(words) * 4
    middle = min(max((start + end) / 2, half + 8), _WIDTH - half - 8)
    return (
        svg.path(f"M{start:g} {y + 4:g} L{stop:g} {y + 4:g}", kind),
        svg.text(middle, y - 3, words, kind=f"name-{kind}"),
    )


def _legend(drawn: Drawn, height: int) -> Iterator[str]:
    said = ["solid: an event, by its name", "dashed: a call"]
    if drawn.hostile:
        said.append("red: its words are claims")
    said.append("green: inside, without a way out")
    yield svg.text(12, height - 12, "   ·   ".join(said), kind="faint", anchor="start")
