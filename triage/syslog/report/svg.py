"""Drawing surface of the figures: matplotlib without pyplot, and its SVG made fit for a page.

Rules
- One set of colours by role, told apart by eyes that confuse red and green too (after Okabe and
  Ito's palette). In files they are the light ones on white; in the page each is a CSS variable,
  so that the page's own light or dark decides.
- Text stays text: it can be searched, copied and read aloud. No text is taken for TeX.
- Deterministic: no date, no random ids; the same figure gives the same bytes.
- Nothing outside the figure is referred to; ids that a figure's parts need for each other carry its
  name, so that many figures stand in one page.

Global state of matplotlib is changed within a `with` only (its settings of fonts and SVG).
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from triage.views.words import escaped

LIGHT = {
    "ink": "#16191d",
    "soft": "#5b6470",
    "line": "#d5dae0",
    "paper": "#ffffff",
    "bad": "#c21f2f",
    "s1": "#0072b2",
    "s2": "#d55e00",
    "s3": "#009e73",
    "s4": "#cc79a7",
    "s5": "#e69f00",
    "s6": "#56b4e9",
    "s7": "#7a5c14",
    "s8": "#4b4bb0",
    "rest": "#8b949e",
}
"""Role -> colour, on white."""

DARK = {
    "ink": "#e9edf1",
    "soft": "#a9b2bc",
    "line": "#38414b",
    "paper": "#14171b",
    "bad": "#ff6b74",
    "s1": "#4c9be8",
    "s2": "#f4803a",
    "s3": "#2fc79a",
    "s4": "#e39ac4",
    "s5": "#f2b84b",
    "s6": "#9ad4ff",
    "s7": "#cdb15a",
    "s8": "#8f8ff5",
    "rest": "#7d8792",
}
"""The same, on black."""

SERIES = ("s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8")
"""Roles of areas and hosts."""

REST = "rest"
"""Role of all others together."""

DPI = 120
"""Of PNG."""

_SETTINGS = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.parse_math": False,
    "text.usetex": False,
    "svg.fonttype": "none",
    "axes.edgecolor": LIGHT["soft"],
    "axes.labelcolor": LIGHT["ink"],
    "axes.titlecolor": LIGHT["ink"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": False,
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.7,
    "xtick.color": LIGHT["soft"],
    "ytick.color": LIGHT["soft"],
    "xtick.labelcolor": LIGHT["ink"],
    "ytick.labelcolor": LIGHT["ink"],
    "text.color": LIGHT["ink"],
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "none",
    "path.simplify": True,
}

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_OWN_ID = re.compile(r"url\(#([^)]+)\)")

STYLE = (
    "stroke-linejoin:round;stroke-linecap:butt;"
    "font-family:'DejaVu Sans',Verdana,'Noto Sans',sans-serif"
)
"""What every figure's `svg` element has as its style: in files inside, in the page by its CSS."""


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Give the settings under which figures are made and written."""
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        warnings.filterwarnings("ignore", message=r"(?s).*[Tt]ight.?layout")
        yield


def colour(role: str) -> str:
    """Return a role's colour for matplotlib."""
    return LIGHT[role]


def shown(text: str) -> str:
    """Return a stranger's text as it may be drawn."""
    return escaped(text)


def to_png(figure: Figure) -> bytes:
    """Return a figure on white."""
    buffer = io.BytesIO()
    with drawing():
        FigureCanvasAgg(figure)
        figure.savefig(
            buffer, format="png", dpi=DPI, facecolor=LIGHT["paper"], metadata={"Software": None}
        )
    return buffer.getvalue()


def to_svg(figure: Figure, name: str) -> bytes:
    """Return a figure as an SVG file on white; `name` makes its ids its own."""
    root = _written(figure, name)
    width, height = _size(root)
    back = ET.Element(
        f"{_SVG}rect",
        {"width": f"{width:g}", "height": f"{height:g}", "fill": LIGHT["paper"]},
    )
    root.insert(0, back)
    root.set("style", STYLE)
    ET.register_namespace("", _SVG[1:-1])
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()


def inline(figure: Figure, name: str, label: str) -> str:
    """Return a figure as an element of an HTML page, in the page's colours.

    Its roles are the CSS variables --f-ROLE (`variables`); `label` is what a reader hears.
    """
    root = _written(figure, name)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        for key in ("style", "fill", "stroke"):
            value = element.get(key)
            if value and "#" in value:
                element.set(key, _in_variables(value))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", shown(label))
    return ET.tostring(root, encoding="unicode")


def variables(colours: dict[str, str]) -> str:
    """Return the CSS that gives `inline` figures their colours."""
    return "".join(f"--f-{role}:{value};" for role, value in colours.items())


_ROLE_OF = {value: role for role, value in LIGHT.items()}
_HEX = re.compile(r"#[0-9a-f]{6}\b")


def _in_variables(text: str) -> str:
    def variable(match: re.Match[str]) -> str:
        role = _ROLE_OF.get(match[0])
        return f"var(--f-{role})" if role else match[0]

    if "fill" not in text and "stroke" not in text:  # an attribute: variables are CSS only
        return text
    return _HEX.sub(variable, text)


def _written(figure: Figure, name: str) -> ET.Element:
    buffer = io.BytesIO()
    with drawing(), mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(
            buffer,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    root = ET.fromstring(buffer.getvalue())  # noqa: S314  # matplotlib's own
    for element in root.findall(f"{_SVG}metadata"):
        root.remove(element)
    for parent in root.iter(f"{_SVG}defs"):
        for style in parent.findall(f"{_SVG}style"):  # of all elements, of the whole page
            parent.remove(style)
    _own_ids(root, name)
    _shortened(root)
    _hoisted(root)
    return root


def _own_ids(root: ET.Element, name: str) -> None:
    """Keep the ids that something refers to, and make them the figure's own."""
    used: set[str] = set()
    for element in root.iter():
        link = element.attrib.pop(_LINK, None)
        if link is not None:
            element.set("href", f"#{name}-{link[1:]}")
            used.add(link[1:])
        for key, value in element.attrib.items():
            if "url(#" in value:
                used.update(_OWN_ID.findall(value))
                element.set(key, _OWN_ID.sub(rf"url(#{name}-\1)", value))
    for element in root.iter():
        own = element.attrib.pop("id", None)
        if own in used:
            element.set("id", f"{name}-{own}")


def _shortened(root: ET.Element) -> None:
    """Cut what nobody sees: digits after the first decimal, spaces, a style per font."""
    for element in root.iter():
        for key in ("d", "x", "y", "transform", "width", "height", "points"):
            value = element.get(key)
            if value is not None:
                value = _NUMBER.sub(lambda match: f"{float(match[0]):.1f}", value)
                element.set(key, " ".join(value.split()))
        if element.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
        style = element.get("style")
        if style is not None:
            element.set("style", _restyled(style))
        if element.text is not None and not element.text.strip():
            element.text = None
        if element.tail is not None and not element.tail.strip():
            element.tail = None


def _restyled(style: str) -> str:
    parts = [part.strip() for part in style.split(";") if part.strip()]
    return ";".join(part.replace(": ", ":") for part in parts if "font-family" not in part)


def _hoisted(root: ET.Element) -> None:
    """Say once for a group of points how all of them look."""
    for group in root.iter(f"{_SVG}g"):
        styles = {point.get("style") for point in group if point.tag == f"{_SVG}use"}
        if len(group) < 2 or len(styles) != 1 or any(one.tag != f"{_SVG}use" for one in group):
            continue
        style = styles.pop()
        if style and not group.get("style"):
            group.set("style", style)
            for point in group:
                point.attrib.pop("style")


def _size(root: ET.Element) -> tuple[float, float]:
    _, _, width, height = (float(one) for one in (root.get("viewBox") or "0 0 0 0").split())
    return width, height
