"""The report: documents in, exactly the agreed form out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.ctl import summary
from functions.ctl.report import Facts, Report, report
from shared.model.lock import Lock
from shared.model.verdict import Verdicts
from tests.ctl.samples import RUN_ID, SOME, change, lock, run, verdict, verdicts

FACTS = Facts(RUN_ID, "quickstart", "emulators (SDK)", platform_seconds=3.14159, seconds=45.678, ended=145.0)
BLOCKED = verdict("jinja2", "3.1.4", "block", "GHSA-q2x7-8rv6-6q7h", "GHSA-cpwx-vrp4-4pq7")
HELD = verdict("oddity", "1.0", "hold")
ADMITTED = verdict("humanize", "4.17.0", "allow")
VERDICTS = verdicts(BLOCKED, HELD, ADMITTED)
LOCK = lock(change("jinja2", "3.1.4", "3.1.5", "GHSA-q2x7-8rv6-6q7h"))


def made(
    run: dict[str, Any], verdicts: Verdicts | None = VERDICTS, lock: Lock | None = LOCK, reason: str = ""
) -> Report:
    return report(FACTS, run, verdicts, lock, reason)


def test_a_completed_run_in_the_agreed_form() -> None:
    assert made(run()).document() == {
        "run_id": RUN_ID,
        "workload": "quickstart",
        "platform": "emulators (SDK)",
        "advisories": {"source": "osv.dev zips", "date": "2026-11-21T19:00:00Z"},
        "state": "completed",
        "reason": "",
        "seconds": 45.68,
        "stages": {
            "platform": 3.14,
            "outer": 10.0,
            "scanner": 1.5,
            "sync": 8.5,
            "inner": 20.0,
            "attestation": None,
        },
        "manifest": {"digest": SOME, "packages": {"pypi": 4, "debian": 129, "generic": 1}},
        "verdicts": {"allow": 1, "hold": 1, "block": 1},
        "refused": [
            {
                "purl": "pkg:pypi/jinja2@3.1.4",
                "advisories": ["GHSA-q2x7-8rv6-6q7h"],
                "replacement": "pkg:pypi/jinja2@3.1.5",
            },
            {"purl": "pkg:pypi/oddity@1.0", "advisories": [], "replacement": None},
        ],
        "changes": [
            {
                "kind": "replaced",
                "ecosystem": "pypi",
                "names": ["jinja2"],
                "from": "3.1.4",
                "to": "3.1.5",
                "advisories": ["GHSA-q2x7-8rv6-6q7h"],
                "required_by": [],
                "reason": "the nearest version that the policy admits",
                "environments": [],
                "yielded": [],
            }
        ],
        "waivers": [],
        "mirrored": {"artifacts": 9, "bytes": 2237988},
        "inner": {
            "installed": 134,
            "missing": [],
            "unexpected": [],
            "egress": "denied",
            "smoke": {"exit_code": 0, "seconds": 0.47, "tail": "rendered\nwith jinja2 3.1.5"},
        },
        "attestation": None,
    }


def answer(decision: str, *failed: str) -> dict[str, Any]:
    known = {"image_digest": SOME, "builders": ["urn:a", "urn:b"], "decision": decision}
    return known | {"failed_checks": list(failed), "result": SOME, "token": SOME, "checks": 50}


def test_the_service_that_was_refused_is_reported_else_the_last_one() -> None:
    services = {"data_services": ["one", "two"]}
    good = {"one": answer("accepted"), "two": answer("accepted")}
    assert made(run(**services, attestation=good)).document()["attestation"] == {
        "image_digest": SOME,
        "builders": ["urn:a", "urn:b"],
        "decision": "accepted",
        "failed_checks": [],
    }
    bad = {"one": answer("refused", "41 image digest: another image")}
    found = made(run(**services, attestation=bad)).document()["attestation"]
    assert (found["decision"], found["failed_checks"]) == ("refused", ["41 image digest: another image"])
    assert made(run(**services)).document()["attestation"] is None


def test_it_is_json() -> None:
    assert json.loads(json.dumps(made(run()).document()))["state"] == "completed"


def test_a_run_that_never_began_has_every_key() -> None:
    document = made({}, None, None, "The Pub/Sub emulator ended.").document()
    assert set(document) == set(made(run()).document())
    assert document["state"] == "failed"
    assert document["reason"] == "The Pub/Sub emulator ended."
    assert document["stages"] == {
        "platform": 3.14,
        "outer": None,
        "scanner": None,
        "sync": None,
        "inner": None,
        "attestation": None,
    }
    assert (document["manifest"], document["verdicts"], document["mirrored"], document["inner"]) == (
        None,
    ) * 4
    assert document["refused"] == []


def test_the_stage_that_failed_took_until_the_run_ended() -> None:
    stages = {"outer": {"started": 100.0, "ended": 110.0}, "scanner": {"started": 110.0}}
    failed = made(run(state="failed", reason="No.", ended=112.25, stages=stages, inner=None, mirrored=None))
    assert (failed.state, failed.reason) == ("failed", "No.")
    assert failed.stages["scanner"] == 2.25
    assert failed.stages["sync"] is None


def test_a_stage_under_way_took_until_somebody_stopped_watching() -> None:
    document = {"state": "running", "workload": "quickstart", "stages": {"outer": {"started": 100.0}}}
    assert made(document, None, None, "interrupted").stages["outer"] == 45.0


def test_an_own_reason_beats_a_completed_run() -> None:
    """A run that completed in a platform that broke at the same moment: the user is told what she saw."""
    assert made(run(), reason="The platform ended.").state == "failed"


@pytest.mark.parametrize("state", ["running", "failed", None])
def test_only_completed_is_completed(state: str | None) -> None:
    found = made(run(state=state))
    assert found.state == "failed"
    assert found.reason == "The run has not ended."


def test_without_a_lock_a_refusal_names_every_advisory_and_no_replacement() -> None:
    (first, _) = made(run(state="failed"), lock=None).refused
    assert first.advisories == ["GHSA-cpwx-vrp4-4pq7", "GHSA-q2x7-8rv6-6q7h"]
    assert first.replacement is None


def test_the_advisories_come_from_the_verdicts_where_the_run_does_not_say() -> None:
    document = run()
    del document["advisories"]
    found = made(document).advisories
    assert found
    assert found.source == "osv.dev zips"


def test_the_summary_says_what_a_person_needs() -> None:
    text = summary.text(made(run()))
    assert text.splitlines()[0] == "quickstart: completed in 45.7 s   (run-0123456789ab, emulators (SDK))"
    assert "osv.dev zips, 2026-11-21T19:00:00Z" in text
    assert "pkg:pypi/jinja2@3.1.4 (GHSA-q2x7-8rv6-6q7h): instead pkg:pypi/jinja2@3.1.5" in text
    assert "pkg:pypi/oddity@1.0 (by a rule): no replacement" in text
    assert "9 files, 2.2 MB" in text
    assert "134 packages, 0 missing, 0 unexpected, egress denied" in text
    assert "exit code 0 in 0.5 s" in text


def slice_of(*codes: int) -> dict[str, Any]:
    """The run of a slice whose workers' smoke tests ended so."""
    document = run()
    inner = document["inner"]
    own = {key: inner[key] for key in ("installed", "missing", "unexpected", "egress")}
    smokes = [{"exit_code": code, "seconds": 1.0 + n, "tail": f"worker {n}"} for n, code in enumerate(codes)]
    shown = next((each for each in smokes if each["exit_code"]), smokes[-1])
    workers = {str(n): {**own, "smoke": smoke} for n, smoke in enumerate(smokes)}
    document["inner"] = inner | {
        "hosts": len(codes),
        "smoke": shown,
        "workers": dict(reversed(workers.items())),
    }
    return document


def test_several_workers_are_reported_as_one_and_each() -> None:
    report = made(slice_of(*[0] * 12))
    assert (
        "  inner VM    12 workers, 134 packages each, 0 missing, 0 unexpected, egress denied\n"
        in summary.text(report)
    )
    assert "exit code 0 in 12.0 s, the slowest of 12" in summary.text(report)
    workers = report.document()["inner"]["workers"]
    assert list(workers) == [str(number) for number in range(12)]
    assert workers["3"] == {
        "installed": 134,
        "missing": [],
        "unexpected": [],
        "egress": "denied",
        "smoke": {"exit_code": 0, "seconds": 4.0, "tail": "worker 3"},
    }


def test_workers_that_differ_are_told_apart() -> None:
    document = slice_of(0, 3, 0) | {"state": "failed", "reason": "No."}
    document["inner"]["workers"]["2"]["installed"] = 135
    text = summary.text(made(document))
    assert "inner VM    3 workers, 134 to 135 packages each" in text
    assert "exit code 3 in 2.0 s, on worker 1" in text
    del document["inner"]["workers"]["0"]
    assert "inner VM    2 of 3 workers, 134 to 135 packages each" in summary.text(made(document))


def test_the_summary_says_how_bad_what_was_refused_is() -> None:
    text = summary.text(made(run()), verdicts=VERDICTS)
    assert "pkg:pypi/jinja2@3.1.4 (GHSA-q2x7-8rv6-6q7h HIGH 8.1): instead" in text
    assert "pkg:pypi/oddity@1.0 (oddity has 0 flaws): no replacement" in text
    (finding,) = verdict("evil", "1.0", "block", "MAL-1").findings
    evil = verdict("evil", "1.0", "block").model_copy(
        update={
            "findings": (finding.model_copy(update={"malicious": True, "score": None, "aliases": ("X-1",)}),)
        }
    )
    text = summary.text(
        made(run(), verdicts(evil), lock(change("evil", "1.0", "1.1", "X-1"))), "", verdicts(evil)
    )
    assert "(X-1 HIGH, malicious): instead" in text


def test_long_lines_are_wrapped_below_their_column_on_a_terminal() -> None:
    reason = "The distribution cannot be resolved because " + "of this and that " * 20 + "pkg:" + "x" * 90
    report = made(run(state="failed", reason=reason))
    lines = summary.text(report, "y" * 150, VERDICTS, 80).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("  why  "))
    assert lines[at + 1].startswith(" " * 14 + "")
    assert lines[at + 1][14] != " "
    assert all(len(line) <= 80 for line in lines if "y" * 150 not in line)
    assert " ".join("".join(line.strip() for line in lines[at : at + 9]).split()).count("x") >= 90
    assert summary.text(report, width=0).count(reason.rstrip()) == 1


def test_the_longest_stage_has_the_longest_bar() -> None:
    chart = summary.text(made(run())).splitlines()[-5:]
    bars = {line.split()[0]: line.count("█") for line in chart}
    assert bars == {"platform": 6, "outer": 20, "scanner": 3, "sync": 17, "inner": 40}


def test_a_failure_shows_the_last_lines_without_control_characters() -> None:
    text = summary.text(made(run(state="failed", reason="bad \x1b[2J thing")), "one\n\x1b[31mtwo\n")
    assert "FAILED" in text
    assert "bad \\u001b[2J thing" in text
    assert "    \\u001b[31mtwo" in text
    assert "\x1b" not in text


def test_many_refusals_are_cut() -> None:
    many = verdicts(*(verdict(f"package{number:03d}", "1.0", "block", "GHSA-1") for number in range(50)))
    text = summary.text(made(run(state="failed"), many, None))
    assert text.count("  refused ") == 30
    assert "and 20 more" in text


def test_the_summary_shows_the_difference_that_the_lock_makes() -> None:
    moved = change("markupsafe", "2.0", "2.1").model_copy(
        update={"kind": "moved", "reason": "jinja2 asks for it"}
    )
    gone = change("core", "1.0", "none").model_copy(update={"kind": "dropped"})
    text = summary.text(made(run(), lock=lock(gone, moved, change("jinja2", "3.1.4", "3.1.5", "GHSA-1"))))
    at = text.index("  changes     ")
    assert text[at:].splitlines()[:6] == [
        "  changes     refused and replaced: 1",
        "                jinja2 3.1.4 → 3.1.5 (GHSA-1)",
        "              moved along: 1",
        "                markupsafe 2.0 → 2.1; jinja2 asks for it",
        "              dropped: 1",
        "                core 1.0; the nearest version that the policy admits",
    ]
    assert "changes" not in summary.text(made(run(), lock=lock()))


def test_what_was_dropped_has_no_replacement() -> None:
    gone = change("jinja2", "3.1.4", "none", "GHSA-1").model_copy(update={"kind": "dropped"})
    assert made(run(), lock=lock(gone)).refused[0].replacement is None
