"""Why two images are not the same: the first thing in which they differ, named down to the byte."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from shared.errors import Permanent
from shared.image.codec import opened
from shared.image.lanes import processors
from shared.image.oci import Layout, StoredLayer, check_blob, read_layout
from shared.image.tar_compare import Parting, parting
from shared.model.value import Part, printable

_CHUNK = 2**20


class Difference(Part):
    level: Literal["damage", "manifest", "layers", "config", "layer", "compression"]
    """`damage`: a layer does not have the digest that its own image gives it. `layers`: their number."""
    layer: int | None = None
    """Number, from 1 on."""
    name: str = ""
    """Of the layer."""
    path: str = ""
    """In the layer."""
    field: str = ""
    """Of the manifest, the configuration or the tar header; `content`; `member` where one has no such path."""
    offset: int | None = None
    """Of the first differing byte: in the file's content, in a damaged blob, or in a document that says the same."""
    left: str = ""
    right: str = ""
    sentence: str


def compare(a: Path, b: Path) -> Difference | None:
    """The first difference of the images in two layouts; None if they are the same image and undamaged.

    Asked in this order: 1. does every layer have its own digest, 2. the manifest's own fields, 3. the number of layers,
    4. the configuration, 5. each layer's content, 6. each layer's compression. Permanent if one holds no image.
    """
    left, right = read_layout(a, check_layers=False), read_layout(b, check_layers=False)
    damage = _damage(a, left, right) or _damage(b, right, left)  # 1
    if damage:
        return damage
    if left.manifest.digest == right.manifest.digest:
        return None
    return (
        _document("manifest", _own(left), _own(right))  # 2
        or _number(left, right)  # 3
        or _document("config", _without_layers(left), _without_layers(right))  # 4
        or _content(left, right)  # 5
        or _compression(left, right)  # 6
        or _form(left, right)
    )


def _damage(directory: Path, image: Layout, other: Layout) -> Difference | None:
    def wrong(layer: StoredLayer) -> str:
        try:
            check_blob(layer.path, layer.digest, layer.size, layer.name)
        except Permanent as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(processors()) as pool:
        said = list(pool.map(wrong, image.layers))
    for number, (layer, sentence) in enumerate(zip(image.layers, said, strict=True), 1):
        if sentence:
            sound = next((each for each in other.layers if each.digest == layer.digest), None)
            return _located(directory, number, layer, sound, sentence)
    return None


def _located(
    directory: Path, number: int, layer: StoredLayer, sound: StoredLayer | None, sentence: str
) -> Difference:
    """Damage, with its place where the other image has the same layer to compare with."""
    start = f"Layer {number} ({layer.name}) of {directory} is damaged: {sentence}"
    found = Difference(level="damage", layer=number, name=layer.name, sentence=start)
    if sound is None or not layer.path.is_file():
        return found
    at = _first_byte(layer.path, sound.path)
    if at is None:
        return found
    offset, here, there = at
    text = f"{start} Byte {offset} of the blob is {here} instead of {there}"
    try:
        inside = _parting(layer, sound)
    except Permanent:  # it cannot be decompressed any more
        inside = None
    if inside is None:
        return found.model_copy(
            update={"offset": offset, "left": here, "right": there, "sentence": text + "."}
        )
    return _in_layer("damage", number, layer.name, inside, f"{text}: ")


def _document(level: Literal["manifest", "config"], one: Any, other: Any) -> Difference | None:
    found = _first(one, other, "")
    if found is None:
        return None
    field, left, right = found
    what = "manifests" if level == "manifest" else "configurations"
    return Difference(
        level=level,
        field=field,
        left=left,
        right=right,
        sentence=f"The {what} differ in {field}: {left} in the first, {right} in the second.",
    )


def _first(one: Any, other: Any, where: str) -> tuple[str, str, str] | None:
    """The first place, in the order of sorted keys, where two JSON documents differ."""
    if type(one) is type(other) and isinstance(one, dict):
        for key in sorted(one.keys() | other.keys()):
            place = f"{where}.{printable(key, 80)}" if where else printable(key, 80)
            if key not in one or key not in other:
                return place, _json(one, key), _json(other, key)
            found = _first(one[key], other[key], place)
            if found:
                return found
        return None
    if type(one) is type(other) and isinstance(one, list):
        for number, (x, y) in enumerate(zip(one, other, strict=False)):
            found = _first(x, y, f"{where}[{number}]")
            if found:
                return found
        if len(one) != len(other):
            at = min(len(one), len(other))
            return f"{where}[{at}]", _json(one, at), _json(other, at)
        return None
    return None if type(one) is type(other) and one == other else (where, _json([one], 0), _json([other], 0))


def _json(holder: Any, key: str | int) -> str:
    try:
        return printable(json.dumps(holder[key], ensure_ascii=False, sort_keys=True), 200)
    except (KeyError, IndexError):
        return "nothing"


def _own(image: Layout) -> dict[str, Any]:
    """The manifest's fields that do not follow from configuration and layers."""
    extra = {
        str(number): rest
        for number, layer in enumerate(image.manifest.fields["layers"])
        if (rest := {k: v for k, v in layer.items() if k not in ("digest", "size", "mediaType")})
    }
    config = {k: v for k, v in image.manifest.fields["config"].items() if k not in ("digest", "size")}
    return {**image.manifest.fields, "config": config, "layers": extra}


def _without_layers(image: Layout) -> dict[str, Any]:
    rootfs = {k: v for k, v in image.config.fields["rootfs"].items() if k != "diff_ids"}
    return {**image.config.fields, "rootfs": rootfs}


def _number(left: Layout, right: Layout) -> Difference | None:
    counts = len(left.layers), len(right.layers)
    if counts[0] == counts[1]:
        return None
    longer = left.layers if counts[0] > counts[1] else right.layers
    name = longer[min(counts)].name
    return Difference(
        level="layers",
        layer=min(counts) + 1,
        name=name,
        left=str(counts[0]),
        right=str(counts[1]),
        sentence=f"The first image has {counts[0]} layers, the second {counts[1]}.",
    )


def _pairs(left: Layout, right: Layout) -> Iterable[tuple[int, StoredLayer, StoredLayer]]:
    return ((n, a, b) for n, (a, b) in enumerate(zip(left.layers, right.layers, strict=True), 1))


def _content(left: Layout, right: Layout) -> Difference | None:
    for number, one, other in _pairs(left, right):
        if one.diff_id == other.diff_id:
            continue
        found = _parting(one, other)
        if found:
            return _in_layer("layer", number, one.name, found, "")
        return Difference(
            level="layer",
            layer=number,
            name=one.name,
            left=one.diff_id,
            right=other.diff_id,
            sentence=f"Layer {number} ({one.name}) has another diff_id, but the same members: only what stands between "
            "or behind them differs.",
        )
    return None


def _in_layer(
    level: Literal["damage", "layer"], number: int, name: str, found: Parting, start: str
) -> Difference:
    at = f"{start}layer {number} ({name}), {found.path}: "
    if found.field == "member":
        text = f"{at}the first has {found.left} there, the second {found.right}."
    elif found.field == "content":
        text = f"{at}byte {found.offset} is {found.left} in the first, {found.right} in the second."
    else:
        text = f"{at}its {found.field} is {found.left} in the first, {found.right} in the second."
    return Difference(
        level=level,
        layer=number,
        name=name,
        path=found.path,
        field=found.field,
        offset=found.offset,
        left=found.left,
        right=found.right,
        sentence=text[0].upper() + text[1:],
    )


def _compression(left: Layout, right: Layout) -> Difference | None:
    for number, one, other in _pairs(left, right):
        if one.digest != other.digest or one.media_type != other.media_type:
            said = [f"{each.media_type.rsplit('.', 1)[-1]}, {each.size} bytes" for each in (one, other)]
            return Difference(
                level="compression",
                layer=number,
                name=one.name,
                left=said[0],
                right=said[1],
                sentence=f"Both images hold the same; only the compression differs, first of layer {number} "
                f"({one.name}): {said[0]} in the first, {said[1]} in the second.",
            )
    return None


def _form(left: Layout, right: Layout) -> Difference:
    """Documents that say the same in different bytes."""
    level: Literal["config", "manifest"] = "manifest"
    one, other = left.manifest.data, right.manifest.data
    if left.config.digest != right.config.digest:
        level, one, other = "config", left.config.data, right.config.data
    at = next(
        (n for n, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other))
    )
    return Difference(
        level=level,
        field="form",
        offset=at,
        left=printable(repr(one[at : at + 20]), 80),
        right=printable(repr(other[at : at + 20]), 80),
        sentence=f"The {level}s say the same in different bytes, from byte {at} on: order of keys or white space.",
    )


def _parting(one: StoredLayer, other: StoredLayer) -> Parting | None:
    what = f"The layer {one.name}"
    with (
        opened(one.path, one.media_type, what) as first,
        opened(other.path, other.media_type, what) as second,
    ):
        return parting(first, second, what)


def _first_byte(one: Path, other: Path) -> tuple[int, str, str] | None:
    """Offset of the first byte in which two files differ, and both bytes."""
    start = 0
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            a, b = first.read(_CHUNK), second.read(_CHUNK)
            if a != b:
                n = next(
                    (n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
                )
                values = [f"0x{data[n]:02x}" if n < len(data) else "missing" for data in (a, b)]
                return start + n, values[0], values[1]
            if not a:
                return None
            start += len(a)
