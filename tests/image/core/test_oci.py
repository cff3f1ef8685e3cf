"""Labels as Confidential Space's launcher reads them, and a reader that a hostile layout does not fool."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Permanent
from shared.image.oci import CONFIG, INDEX, MANIFEST, blob_path, index_document, labels, read_layout
from shared.model.image import LaunchPolicy
from shared.model.value import canonical, sha256
from tests.image.core.support import SPEC, made

P = "tee.launch_policy."
OLD, NEW = f"{P}monitoring_memory_allow", {f"{P}hardened_monitoring", f"{P}debug_monitoring"}


def of(**policy: Any) -> dict[str, str]:
    return labels(SPEC.model_copy(update={"launch_policy": LaunchPolicy(**policy)}))


def test_what_is_always_said() -> None:
    assert of() == {
        f"{P}log_redirect": "always",
        f"{P}hardened_monitoring": "none",
        f"{P}debug_monitoring": "none",
    }


def test_overrides_are_named_only_where_they_are_allowed() -> None:
    found = of(
        allow_env_override=("FCP_OPTS", "A", "FCP_OPTS"), allow_cmd_override=True, log_redirect="never"
    )
    assert found[f"{P}allow_env_override"] == "A,FCP_OPTS"
    assert found[f"{P}allow_cmd_override"] == "true"
    assert found[f"{P}log_redirect"] == "never"


MONITORING = {
    "none": ("none", "none"),
    "hardened_memory": ("memoryOnly", "memoryOnly"),
    "debug_memory": ("none", "memoryOnly"),
}


@pytest.mark.parametrize("name", [*MONITORING, "legacy_memory"])
def test_monitoring_is_spelled_in_one_way(name: str) -> None:
    found = of(monitoring=name)
    assert (OLD in found) is not bool(NEW & found.keys()), "the launcher starts no image with both"
    if name == "legacy_memory":
        assert found[OLD] == "always"
    else:
        assert (found[f"{P}hardened_monitoring"], found[f"{P}debug_monitoring"]) == MONITORING[name]


def test_the_specs_own_labels_stay() -> None:
    spec = SPEC.model_copy(update={"labels": {"org.example": "x"}})
    assert labels(spec)["org.example"] == "x"


def change_manifest(directory: Path, change: Callable[[Any], object], config: bool = False) -> None:
    """A document changed by somebody who also corrects every digest above it."""
    layout = read_layout(directory)
    manifest = json.loads(layout.manifest.data)
    if config:
        document = json.loads(layout.config.data)
        change(document)
        data = canonical(document)
        blob_path(directory, sha256(data)).write_bytes(data)
        manifest["config"].update(digest=sha256(data), size=len(data))
    else:
        change(manifest)
    put_manifest(directory, canonical(manifest))


def put_manifest(directory: Path, data: bytes) -> None:
    blob_path(directory, sha256(data)).write_bytes(data)
    (directory / "index.json").write_bytes(index_document(data))


def change_index(directory: Path, change: Callable[[Any], object]) -> None:
    index = json.loads((directory / "index.json").read_bytes())
    change(index)
    (directory / "index.json").write_bytes(canonical(index))


def _first(layers: Any) -> Any:
    return layers["layers"][0]


HOSTILE: dict[str, Callable[[Path], object]] = {
    "no layout": lambda d: (d / "oci-layout").unlink(),
    "another version": lambda d: (d / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}'),
    "no index": lambda d: (d / "index.json").unlink(),
    "an index that is no JSON": lambda d: (d / "index.json").write_text("{"),
    "an index that is a list": lambda d: (d / "index.json").write_text("[]"),
    "deep nesting": lambda d: (d / "index.json").write_text("[" * 100_000),
    "a huge index": lambda d: (d / "index.json").write_bytes(b" " * 5_000_000),
    "two images": lambda d: change_index(d, lambda i: i["manifests"].append(i["manifests"][0])),
    "no image": lambda d: change_index(d, lambda i: i["manifests"].clear()),
    "an index in the manifest's place": lambda d: change_index(
        d, lambda i: i["manifests"][0].update(mediaType=INDEX)
    ),
    "a digest that leads elsewhere": lambda d: change_index(
        d, lambda i: i["manifests"][0].update(digest="sha256:../../../oci-layout")
    ),
    "a digest in capitals": lambda d: change_index(
        d, lambda i: i["manifests"][0].update(digest="sha256:" + i["manifests"][0]["digest"][7:].upper())
    ),
    "a size that is true": lambda d: change_index(d, lambda i: i["manifests"][0].update(size=True)),
    "another size": lambda d: change_index(d, lambda i: i["manifests"][0].update(size=1)),
    "a key twice": lambda d: put_manifest(
        d, read_layout(d).manifest.data.replace(b'"schemaVersion":2', b'"schemaVersion":2,"schemaVersion":2')
    ),
    "another platform": lambda d: change_manifest(d, lambda c: c.update(architecture="arm64"), config=True),
    "a layer less": lambda d: change_manifest(d, lambda m: m["layers"].pop()),
    "a diff_id less": lambda d: change_manifest(d, lambda c: c["rootfs"]["diff_ids"].pop(), config=True),
    "no rootfs": lambda d: change_manifest(d, lambda c: c.pop("rootfs"), config=True),
    "a diff_id that is none": lambda d: change_manifest(
        d, lambda c: c["rootfs"].update(diff_ids=["sha256:1", "sha256:2"]), config=True
    ),
    "layers that are no list": lambda d: change_manifest(d, lambda m: m.update(layers={"0": 1, "1": 2})),
    "a layer that is a string": lambda d: change_manifest(d, lambda m: m.update(layers=["a", "b"])),
    "a layer of an unknown type": lambda d: change_manifest(d, lambda m: _first(m).update(mediaType=CONFIG)),
    "a foreign layer": lambda d: change_manifest(
        d, lambda m: _first(m).update(mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    ),
    "a config of an unknown type": lambda d: change_manifest(
        d, lambda m: m["config"].update(mediaType=MANIFEST)
    ),
    "no config": lambda d: change_manifest(d, lambda m: m.pop("config")),
    "a layer of another size": lambda d: change_manifest(
        d, lambda m: _first(m).update(size=_first(m)["size"] + 1)
    ),
    "a changed layer": lambda d: flip(read_layout(d).layers[1].path),
    "a changed config": lambda d: flip(blob_path(d, read_layout(d).config.digest)),
    "a changed manifest": lambda d: flip(blob_path(d, read_layout(d).manifest.digest)),
    "a layer that is missing": lambda d: read_layout(d).layers[1].path.unlink(),
    "a layer that is a link": lambda d: linked(read_layout(d).layers[1].path),
    "a manifest that is a link": lambda d: linked(blob_path(d, read_layout(d).manifest.digest)),
    "a manifest that is a pipe": lambda d: piped(blob_path(d, read_layout(d).manifest.digest)),
    "an index that is a directory": lambda d: ((d / "index.json").unlink(), (d / "index.json").mkdir()),
    "a layer that is a pipe": lambda d: piped(read_layout(d).layers[1].path),
}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_layout_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    made(tmp_path, codec="stored")
    read_layout(tmp_path / "out")
    HOSTILE[name](tmp_path / "out")
    with pytest.raises(Permanent) as refused:
        read_layout(tmp_path / "out")
    assert str(refused.value)[-1] in ".?"
    assert len(str(refused.value)) < 600


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="Is it an image layout"):
        read_layout(tmp_path / "nowhere")


def test_names_come_from_the_history_or_are_numbers(tmp_path: Path) -> None:
    made(tmp_path)
    change_manifest(
        tmp_path / "out",
        lambda c: c.update(history=[{"empty_layer": True}, {"comment": "base"}, "odd"]),
        config=True,
    )
    assert [layer.name for layer in read_layout(tmp_path / "out").layers] == ["base", "2"]
