"""The drawings of docs/drawings that show places: what stands where, and what goes between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.docs import svg


@dataclass(frozen=True)
class Box:
    """A place with a name and lines about it."""

    x: int
    y: int
    width: int
    height: int
    kind: str
    name: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arrow:
    """What goes from one place to another: corners, and where its words stand."""

    corners: tuple[tuple[int, int], ...]
    words: tuple[str, ...]
    at: tuple[int, int]
    kind: str = "event"


@dataclass(frozen=True)
class Scene:
    title: str
    description: str
    width: int
    height: int
    zones: tuple[Box, ...]
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    footer: str = ""


OVERVIEW = Scene(
    title="Package DMZ",
    description=(
        "A hostile outer VM installs a workload from the internet. Its list is judged by the scanner; sync fetches the "
        "admitted files itself, proves them and copies them into private repositories; an inner VM without a way out "
        "installs them. Data services are appraised against what independent builders got from source."
    ),
    width=1000,
    height=440,
    zones=(
        Box(14, 14, 262, 394, "zone-hostile", "Internet: only claims"),
        Box(370, 14, 262, 394, "zone", "Outer project: judges"),
        Box(726, 14, 260, 394, "zone-sealed", "Inner project: no way out"),
    ),
    boxes=(
        Box(34, 64, 222, 66, "plain", "PyPI, Debian, URLs", ("and all who publish there",)),
        Box(34, 192, 222, 66, "hostile", "outer VM", ("installs the workload",)),
        Box(34, 320, 222, 66, "plain", "independent builders", ("build the data service",)),
        Box(390, 64, 222, 66, "own", "sync", ("fetches, proves, uploads",)),
        Box(390, 192, 222, 66, "own", "scanner", ("a verdict for each package",)),
        Box(390, 320, 222, 66, "own", "attestation", ("appraises each token",)),
        Box(746, 64, 220, 66, "sealed", "private repositories", ("what was admitted, no more",)),
        Box(746, 192, 220, 66, "sealed", "inner VM", ("installs by hash, and runs",)),
        Box(746, 320, 220, 66, "sealed", "data service", ("in Confidential Space",)),
    ),
    arrows=(
        Arrow(((145, 130), (145, 190)), ("whatever the script asks for",), (145, 166)),
        Arrow(((256, 225), (388, 225)), ("manifest:", "a claim"), (323, 205)),
        Arrow(((501, 192), (501, 132)), ("verdicts",), (501, 166)),
        Arrow(((256, 97), (388, 97)), ("fetched again,", "by hash"), (323, 77)),
        Arrow(((612, 97), (744, 97)), ("admitted", "bytes"), (679, 77)),
        Arrow(((856, 130), (856, 190)), ("a lock with hashes",), (856, 166)),
        Arrow(((256, 353), (388, 353)), ("signed", "digests"), (323, 333)),
        Arrow(((746, 353), (614, 353)), ("token", "for a nonce"), (679, 333)),
    ),
    footer="Stages speak by Pub/Sub events alone: delivered at least once, in any order, harmless twice.",
)

PROJECTS = Scene(
    title="The two projects",
    description=(
        "The outer project holds events, judges, database and keys that sign; the inner project holds the private "
        "repositories, the inner stage and a network without a route out. Six things cross."
    ),
    width=1000,
    height=700,
    zones=(
        Box(14, 14, 520, 650, "zone", "Outer project"),
        Box(666, 14, 320, 650, "zone", "Inner project"),
        Box(680, 290, 292, 266, "zone-sealed", "network without a route out"),
    ),
    boxes=(
        Box(
            30,
            56,
            232,
            92,
            "hostile",
            "outer VMs",
            ("out to 80 and 443, nothing in;", "publish one topic,", "read dmz-staging"),
        ),
        Box(30, 166, 232, 74, "own", "dmz-staging", ("users' own wheels,", "not judged yet")),
        Box(30, 258, 232, 74, "own", "dmz-services", ("the one image of all stages,", "by digest")),
        Box(
            30,
            350,
            232,
            92,
            "own",
            "Cloud Build",
            ("builder and rebuilder: each an", "account and a signing key", "of its own in Cloud KMS"),
        ),
        Box(
            30,
            460,
            232,
            92,
            "own",
            "buckets",
            (
                "policies, advisories: for stages",
                "provenance: written once, kept",
                "builds: sources to build",
            ),
        ),
        Box(
            30, 570, 232, 74, "own", "Cloud Scheduler", ("a sweep every minute, judging", "again every hour")
        ),
        Box(286, 56, 232, 74, "own", "sync", ("alone writes packages into", "the inner project")),
        Box(
            286,
            148,
            232,
            110,
            "own",
            "other stages",
            ("outer, scanner, attestation:", "Cloud Run, an account each;", "attestation signs summaries"),
        ),
        Box(
            286,
            276,
            232,
            110,
            "own",
            "Pub/Sub",
            ("a topic for each event;", "dead-letters with the reason;", "pushed with an OIDC token"),
        ),
        Box(
            286,
            404,
            232,
            92,
            "own",
            "Firestore",
            ("runs, verdicts, claims, outbox,", "votes, waivers, decision log"),
        ),
        Box(
            286,
            514,
            232,
            130,
            "own",
            "people",
            (
                "operators: start, waive, look",
                "policy editors: the policies",
                "rebuilders: signed statements",
                "relying parties: nonces",
            ),
        ),
        Box(
            680,
            56,
            292,
            92,
            "sealed",
            "private repositories",
            (
                "dmz-python, dmz-generic, one for each",
                "release of Debian and Ubuntu;",
                "dmz-images: data services",
            ),
        ),
        Box(
            680,
            166,
            292,
            92,
            "own",
            "inner",
            ("Cloud Run; creates inner VMs, compares", "what they report with the lock"),
        ),
        Box(
            696,
            332,
            260,
            92,
            "sealed",
            "inner TPU VM",
            ("reads packages, publishes one topic;", "operators enter through IAP"),
        ),
        Box(
            696,
            442,
            260,
            96,
            "sealed",
            "data services",
            ("Confidential Space; each an account,", "nonces and a key of its own"),
        ),
        Box(
            680,
            574,
            292,
            74,
            "own",
            "Cloud KMS",
            ("decrypts for attested images alone,", "until their reference value ends"),
        ),
    ),
    arrows=(
        Arrow(((518, 93), (678, 93)), ("1 packages",), (600, 85)),
        Arrow(((518, 300), (560, 300), (560, 196), (678, 196)), ("2 its topics",), (606, 188)),
        Arrow(((680, 232), (580, 232), (580, 430), (520, 430)), ("3 records, events",), (600, 256)),
        Arrow(((696, 378), (600, 378), (600, 330), (520, 330)), ("4 one report",), (600, 404)),
        Arrow(((696, 490), (620, 490), (620, 360), (520, 360)), ("5 nonces in,", "tokens out"), (600, 508)),
        Arrow(((534, 126), (678, 126)), ("6 images",), (600, 118)),
        Arrow(((826, 538), (826, 572)), (), (0, 0)),
    ),
    footer="Red: hostile. Green: no way out but to Google's interfaces. 6: by image_pushers, who are nobody at first.",
)

VERDICTS = Scene(
    title="From a manifest to a verdict",
    description=(
        "Manifest, advisories, package index, policy and waivers are put into one stored case; the judgement reads the "
        "case alone and gives stored verdicts; what is to replace a refused package has cases of its own."
    ),
    width=1000,
    height=400,
    zones=(),
    boxes=(
        Box(20, 20, 250, 54, "hostile", "manifest", ("what the outer VM had",)),
        Box(20, 88, 250, 54, "plain", "advisories", ("OSV, KEV, EPSS",)),
        Box(20, 156, 250, 54, "plain", "package index", ("upload, yank, licence",)),
        Box(20, 224, 250, 54, "own", "policy", ("every rule with its answer",)),
        Box(20, 292, 250, 54, "own", "waivers", ("in force at this moment",)),
        Box(390, 138, 190, 90, "own", "case", ("all that is known,", "stored by its digest")),
        Box(700, 138, 190, 90, "own", "verdicts", ("each with every rule,", "stored by their digest")),
        Box(700, 292, 190, 54, "own", "lock", ("by hash",)),
    ),
    arrows=(
        Arrow(((270, 47), (330, 47), (330, 160), (388, 160)), (), (0, 0)),
        Arrow(((270, 115), (320, 115), (320, 172), (388, 172)), (), (0, 0)),
        Arrow(((270, 183), (388, 183)), (), (0, 0)),
        Arrow(((270, 251), (320, 251), (320, 194), (388, 194)), (), (0, 0)),
        Arrow(((270, 319), (330, 319), (330, 206), (388, 206)), (), (0, 0)),
        Arrow(((580, 183), (698, 183)), ("judge, pure",), (639, 174)),
        Arrow(((795, 228), (795, 290)), (), (0, 0)),
        Arrow(
            ((700, 319), (485, 319), (485, 230)),
            ("what is to replace a refused package",),
            (592, 338),
            "call",
        ),
    ),
    footer="The same case gives the same bytes: no clock, no network and no setting is read on the way.",
)

DRAWN = {"overview.svg": OVERVIEW, "projects.svg": PROJECTS, "verdicts.svg": VERDICTS}


def drawing(scene: Scene) -> str:
    """The SVG."""
    parts: list[str] = []
    for zone in scene.zones:
        parts.append(svg.box(zone.x, zone.y, zone.width, zone.height, zone.kind, 10))
        parts.append(svg.text(zone.x + 16, zone.y + 24, zone.name, size=15, anchor="start", bold=True))
    for box in scene.boxes:
        parts += _box(box)
    for arrow in scene.arrows:
        parts += _arrow(arrow)
    parts.append(svg.text(16, scene.height - 12, scene.footer, kind="faint", anchor="start"))
    return svg.document(scene.width, scene.height, scene.title, scene.description, parts)


def _box(box: Box) -> Iterator[str]:
    yield svg.box(box.x, box.y, box.width, box.height, box.kind)
    middle = box.x + box.width / 2
    first = box.y + box.height / 2 - 9 * len(box.lines) + 5
    yield svg.text(middle, first, box.name, size=15, bold=True)
    for at, line in enumerate(box.lines):
        yield svg.text(middle, first + 18 * (at + 1), line, kind="faint")


def _arrow(arrow: Arrow) -> Iterator[str]:
    yield svg.path("M" + " L".join(f"{x} {y}" for x, y in arrow.corners), arrow.kind)
    yield from _words(arrow.words, arrow.at)


def _words(words: Sequence[str], at: tuple[int, int]) -> Iterator[str]:
    for number, line in enumerate(words):
        yield svg.text(at[0], at[1] + 15 * number, line, kind="name-event")
