"""Matplotlib's SVG as part of a page: colours from the page's style sheet, no inline styles, no metadata.

Matplotlib can't draw in ``currentColor`` or a CSS variable, so a plot is drawn in stand-in colours, and each is
replaced here. That lets one picture follow light, dark and print; and a page without inline styles can forbid them.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Stand-in colours, and what they become.
TEXT, MUTED, LINE, FIRST, SECOND, GOOD, BAD, QUIET = (f"#0000{number:02x}" for number in range(1, 9))
_PAGE_COLOURS = {
    TEXT: "currentColor", MUTED: "var(--muted)", LINE: "var(--line)", FIRST: "var(--first)", SECOND: "var(--second)",
    GOOD: "var(--good)", BAD: "var(--bad)", QUIET: "var(--quiet)",
}  # fmt: skip
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_NUMBER = re.compile(r"-?\d+\.\d{2,}")
# Text takes the font of the page.
_DROPPED = ("font-family", "font", "-inkscape-font-specification")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "font.size": 9.5, "axes.titlesize": 9.5, "axes.titlelocation": "left", "text.color": TEXT,
    "axes.labelcolor": MUTED, "axes.edgecolor": LINE, "xtick.color": MUTED, "ytick.color": MUTED, "grid.color": LINE,
    "grid.linewidth": 0.8, "axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True, "axes.spines.top": False,
    "axes.spines.right": False, "axes.spines.left": False, "xtick.major.size": 3, "ytick.major.size": 0,
    "lines.linewidth": 1.6, "lines.solid_capstyle": "round", "text.parse_math": False, "patch.linewidth": 0,
}  # fmt: skip


def themed_svg(figure: Figure, name: str, label: str) -> str:
    """``figure`` as an ``<svg>`` element.

    Args:
        figure: Drawn under ``rc_context(STYLE)`` in the stand-in colours.
        name: Unique in the page; identifiers begin with it.
        label: What the plot shows, for people who can't see it.
    """
    from matplotlib import rc_context

    stream = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    drawn = ET.fromstring(stream.getvalue())  # noqa: S314 - Matplotlib wrote it
    box = drawn.get("viewBox", "")
    _clean(drawn, name)
    drawn.attrib.clear()
    drawn.attrib |= {"viewBox": box, "role": "img", "aria-label": label}
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    return ET.tostring(drawn, encoding="unicode")


def _clean(parent: ET.Element, name: str) -> None:
    for child in list(parent):
        tag = child.tag.removeprefix(f"{{{_SVG}}}")
        if tag in ("metadata", "style") or (tag == "defs" and all(inner.tag.endswith("style") for inner in child)):
            parent.remove(child)
            continue
        _restyle(child, name, keep_id=tag in ("path", "clipPath"))
        _clean(child, name)


def _restyle(element: ET.Element, name: str, *, keep_id: bool) -> None:
    for declaration in element.attrib.pop("style", "").split(";"):
        key, _, value = declaration.partition(":")
        if key.strip() and key.strip() not in _DROPPED:
            element.set(key.strip(), value.strip())
    for key, value in element.attrib.items():
        if key in ("d", "x", "y", "transform", "points", "width", "height"):
            value = _NUMBER.sub(lambda found: f"{float(found[0]):.1f}", " ".join(value.split()))
        elif key in ("fill", "stroke"):
            value = _PAGE_COLOURS.get(value, value)
        elif key == f"{{{_XLINK}}}href":
            value = f"#{name}-{value.removeprefix('#')}"
        elif key == "clip-path":
            value = value.replace("url(#", f"url(#{name}-")
        element.set(key, value)
    if "id" in element.attrib:
        if keep_id:
            element.set("id", f"{name}-{element.attrib['id']}")
        else:
            del element.attrib["id"]
