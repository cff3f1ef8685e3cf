"""Tables and drawings of docs/ that are made from the code.

python -m tests.docs.pages --write    writes them
python -m tests.docs.pages --check    exits 1 and names what differs
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Mapping

from functions.local.layout import CHECKOUT
from shared.events import PUBLISHERS, SUBSCRIBERS, TYPES
from tests.benchmarks import figures, plot
from tests.docs import scenes, sequences, workload_fields

COMMAND = ".venv/bin/python -m tests.docs.pages --write"
DRAWINGS = "docs/drawings"


def _first_sentence(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").split()).split(". ")[0].rstrip(".")


def events() -> str:
    """Every event in a line, in the order of the catalogue."""
    rows = [
        f"| [`{topic}`](../events/README.md#{topic}) | {', '.join(PUBLISHERS[topic])} | "
        f"{', '.join(stage for stage, topics in SUBSCRIBERS.items() if topic in topics) or 'whoever subscribes'} | "
        f"{_first_sentence(TYPES[topic].__doc__)} |"
        for topic in TYPES
    ]
    return "\n".join(("| event | sent by | handled by | what it says |", "|---|---|---|---|", *rows))


def stages() -> str:
    """Every stage with what it hears and what it says."""
    rows = [
        f"| [`{stage}`](../functions/{stage}/stage.py) | {_listed(topics)} | "
        f"{_listed(tuple(topic for topic in TYPES if stage in PUBLISHERS[topic]))} |"
        for stage, topics in SUBSCRIBERS.items()
    ]
    return "\n".join(("| stage | hears | says |", "|---|---|---|", *rows))


def _listed(topics: tuple[str, ...]) -> str:
    return ", ".join(f"`{topic}`" for topic in topics)


def decisions() -> str:
    """Every decision by its heading."""
    rows = [
        f"| [decisions/{path.name}](decisions/{path.name}) | "
        f"{path.read_text().splitlines()[0].lstrip('# ').partition('. ')[2]} |"
        for path in sorted((CHECKOUT / "docs" / "decisions").glob("*.md"))
    ]
    return "\n".join(("| page | what was decided |", "|---|---|", *rows))


BLOCKS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "docs/architecture.md": {"stages": stages, "events": events},
    "docs/README.md": {"decisions": decisions},
    "docs/benchmarks.md": {
        "sync": figures.sync_table,
        "peers": figures.peers_table,
        "mirror": figures.mirror_table,
        "bill": figures.bill_table,
        "quotas": figures.quota_table,
    },
    "docs/workloads.md": {"fields": workload_fields.table},
}
"""Page to the blocks between its marks."""


def made() -> dict[str, str]:
    """File to its present text: what it has, with every block and drawing anew."""
    files = {
        f"{DRAWINGS}/{name}": module.drawing(drawn)
        for module in (sequences, scenes)
        for name, drawn in module.DRAWN.items()
    }
    files[f"{DRAWINGS}/mirror.svg"] = plot.drawn()
    for page, blocks in BLOCKS.items():
        text = (CHECKOUT / page).read_text()
        for name, block in blocks.items():
            text = replaced(text, name, block())
        files[page] = text
    return files


def replaced(page: str, name: str, block: str) -> str:
    """`page` with `block` between the marks of that name."""
    begin, end = f"<!-- begin {name}: {COMMAND} -->\n", f"<!-- end {name} -->\n"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(
            f"The page has lost its marks; it needs the lines '{begin.strip()}' and '{end.strip()}'."
        )
    return f"{before}{begin}\n{block}\n\n{end}{after}"


def stale() -> list[str]:
    """Files that are not what the code makes."""
    return [
        name
        for name, text in made().items()
        if not (CHECKOUT / name).is_file() or (CHECKOUT / name).read_text() != text
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.docs.pages", description=__doc__.split("\n\n")[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true")
    action.add_argument("--check", action="store_true")
    if parser.parse_args(arguments).write:
        for name, text in made().items():
            (CHECKOUT / name).write_text(text)
        return 0
    different = stale()
    for name in different:
        print(f"{name} is not what the code makes: {COMMAND}", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
