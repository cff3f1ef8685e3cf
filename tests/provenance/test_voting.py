"""./dmz attestation builders and publish."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from functions.ctl import cli, rebuild, voting
from shared.appraisal import builders
from shared.appraisal.signer import FileSigner
from shared.events import Event, ImageBuilt
from tests.provenance.kms_standin import NAME, TOKEN, running
from tests.provenance.world import ALICE, BOB, World


def test_a_policy_from_keys_of_every_kind(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    public = world.home / "alice.pub"
    public.write_text(FileSigner(world.key("alice")).public_pem)
    with running() as kms:
        monkeypatch.setenv(rebuild.KMS_ENDPOINT, kms.url)
        monkeypatch.setattr("shared.gcp.kms.KmsSigner._default_token", lambda _: TOKEN)
        given = [f"{ALICE}={public}", f"{BOB}={world.key('bob')}", f"https://c.example/x=gcpkms://{NAME}"]
        assert cli.main(["attestation", "builders", *given]) == 0
        in_kms = rebuild.signer_of(f"gcpkms://{NAME}", os.environ).key_id
    path = world.home / "builders.yaml"
    path.write_text(capsys.readouterr().out)
    listed = builders.read(path)
    assert listed.threshold == 3
    assert [each.id for each in listed.builders] == [ALICE, BOB, "https://c.example/x"]
    assert [each.keyids for each in listed.builders] == [
        *((FileSigner(world.key(name)).key_id,) for name in ("alice", "bob")),
        (in_kms,),
    ]
    assert "PRIVATE" not in path.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threshold", "0", "https://a.example=KEY"], "threshold"),
        (["--threshold", "2", "https://a.example=KEY"], "threshold"),
        (["https://a.example=KEY", "https://b.example=KEY"], "is given twice"),
        (["https://a.example"], "is no URI=KEY"),
        (["https://a.example=/nowhere"], "/nowhere"),
        (["https://a.example=gcpkms://x"], "names no key version"),
    ],
)
def test_a_policy_that_lets_too_few_decide(
    world: World, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    given = [word.replace("KEY", str(world.key("alice"))) for word in words]
    assert cli.main(["attestation", "builders", *given]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


def test_a_vote_is_published_after_it_was_signed(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.rebuild("alice", ALICE) == 0
    sent: list[Event] = []
    monkeypatch.setattr(voting, "publisher", lambda to, _: sent.append if to == "p" else None)
    words = ["attestation", "publish", str(world.home / "alice.json"), "--config", str(world.config)]
    for _ in range(2):
        assert cli.main([*words, "--to", "p"]) == 0
    assert len({event.id for event in sent}) == 1
    data = sent[0].data
    assert isinstance(data, ImageBuilt)
    assert data.image == "demo_service"
    assert data.config == world.config.read_text()


def test_what_is_no_vote_is_not_published(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voting, "publisher", lambda to, _: pytest.fail)
    (tmp_path / "x").write_text("{}")
    words = ["attestation", "publish", str(tmp_path / "x"), "--config", str(tmp_path / "x"), "--to", "p"]
    assert cli.main(words) == 2
    assert "The envelope" in capsys.readouterr().err
