"""Pieces of SVG in one style, legible on light and on dark pages: every drawing brings its own ground."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

STYLE = """\
text{font-family:system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;fill:#1f2328}
.ground{fill:#fff;stroke:#d1d9e0}
.own{fill:#eef4fb;stroke:#5b7ea8}.hostile{fill:#fdecea;stroke:#b3423a}.sealed{fill:#e8f5ec;stroke:#2f7d4a}
.plain{fill:#fff;stroke:#8a949e}.zone{fill:#f6f8fa;stroke:#8a949e}.zone-hostile{fill:#fff6f5;stroke:#b3423a}
.zone-sealed{fill:#f3faf5;stroke:#2f7d4a}
.lane{stroke:#c3ccd5;stroke-dasharray:2 4}
.event,.call{fill:none;stroke:#1f4e8c;stroke-width:1.6;marker-end:url(#tip)}
.call{stroke:#6b747d;stroke-dasharray:5 4;marker-end:url(#tip-call)}
.tip{fill:#1f4e8c}.tip-call{fill:#6b747d}
.name-event{fill:#1f4e8c}.name-call,.faint,.said{fill:#4a535c}.said{font-style:italic}
.name-event,.name-call,.said{paint-order:stroke;stroke:#fff;stroke-width:5px;stroke-linejoin:round}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}
.ground{fill:#0d1117;stroke:#3d444d}
.own{fill:#15263b;stroke:#6d9bd1}.hostile{fill:#3a1715;stroke:#e5807a}.sealed{fill:#10301c;stroke:#5cb87c}
.plain{fill:#161b22;stroke:#8a949e}.zone{fill:#161b22;stroke:#8a949e}.zone-hostile{fill:#22110f;stroke:#e5807a}
.zone-sealed{fill:#0c1f13;stroke:#5cb87c}
.lane{stroke:#3d444d}
.event{stroke:#79b1ff}.call{stroke:#a0a9b3}.tip{fill:#79b1ff}.tip-call{fill:#a0a9b3}
.name-event{fill:#9cc7ff}.name-call,.faint,.said{fill:#b8c1cb}
.name-event,.name-call,.said{stroke:#0d1117}
}
"""
SMALLEST = 13
"""Pixels of a letter in a drawing of `WIDEST`: at a README's width it is still read."""
WIDEST = 1000


def document(
    width: int, height: int, title: str, description: str, parts: Sequence[str], *, style: str = ""
) -> str:
    """A whole drawing with its ground, its style and `style` after that, and words for those who do not see it."""
    body = "\n".join(parts)
    tips = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="{name}" d="M0 0 L8 4 L0 8 z"/></marker>'
        for name in ("tip", "tip-call")
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="title desc">\n'
        f'<title id="title">{escape(title)}</title>\n<desc id="desc">{escape(description)}</desc>\n'
        f"<style>\n{STYLE}{style}</style>\n<defs>{tips}</defs>\n"
        f'<rect class="ground" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>\n'
        f"{body}\n</svg>\n"
    )


def box(x: float, y: float, width: float, height: float, kind: str = "plain", round_: int = 6) -> str:
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round_}"/>'


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = SMALLEST,
    kind: str = "",
    anchor: str = "middle",
    bold: bool = False,
) -> str:
    """One line; `y` is that of its letters' feet."""
    more = (f' class="{kind}"' if kind else "") + (' font-weight="600"' if bold else "")
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def line(x: float, y: float, to_x: float, to_y: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x:g}" y1="{y:g}" x2="{to_x:g}" y2="{to_y:g}"/>'


def path(way: str, kind: str) -> str:
    return f'<path class="{kind}" d="{way}"/>'
