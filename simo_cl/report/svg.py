"""Turn a matplotlib figure into files, and its axes into SVG that lives inside the page."""

from __future__ import annotations

import copy
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline

from simo_cl.report.drawing import MARK_PREFIX, STYLE
from simo_cl.results.styles import SURFACE, Style, css_variable_of

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_FAMILY = re.compile(r"font-family: [^;]*; ?")
_NO_TURN = re.compile(r"^rotate\(-?0 [^)]*\)$")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


# What every figure is saved as, for the page's readers and for slides; and for LaTeX where asked,
# since embedding its fonts takes longer than all else.
ENDINGS = (".svg", ".png")
PDF = ".pdf"


def drawing_of(figure: Figure) -> ET.Element:
    """The figure as SVG, with its marks, for `save_files` and `cut_panel`."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    return ET.fromstring(buffer.getvalue())


def save_files(
    figure: Figure, drawing: ET.Element, stem: Path, *, pdf: bool = False
) -> tuple[Path, ...]:
    """Write `stem` with each of the `ENDINGS`, the same bytes for the same figure every time.

    Args:
        drawing: of the figure, from `drawing_of`.
        pdf: write it as PDF, too.
    """
    svg, png = paths = [Path(f"{stem}{ending}") for ending in ENDINGS]
    root = copy.deepcopy(drawing)
    _compact(root)
    root.set("font-family", ", ".join(f"'{name}'" for name in STYLE["font.sans-serif"]))
    svg.write_text(_written(root), encoding="utf-8")
    figure.savefig(png, facecolor="white", dpi=160, metadata={"Software": None})
    if pdf:
        paths.append(Path(f"{stem}{PDF}"))
        figure.savefig(paths[-1], facecolor="white", metadata={"CreationDate": None})
    return tuple(paths)


@dataclass(frozen=True)
class Cell:
    """A rectangle of a drawing, in points from its upper left corner."""

    left: float
    top: float
    width: float
    height: float


def cut_panel(drawing: ET.Element, gid: str, cell: Cell, name: str, alternative: str) -> str:
    """One set of axes of a drawing as an `<svg>` element for the page.

    Colours become CSS variables, so that it follows a light or dark page; marks become
    `data-series` and `data-tip`; ids get the panel's name in front, so that several can share a
    page.

    Args:
        drawing: from `drawing_of`.
        gid: of the axes.
        cell: that the axes have for themselves and what surrounds them.
        name: unique in the page.
        alternative: what the panel shows, for readers who cannot see it.
    """
    by_id = {element.get("id"): element for element in drawing.iter() if element.get("id")}
    axes = by_id[gid]
    inside = {element.get("id") for element in axes.iter()}
    elsewhere = sorted(_references(axes) - inside)
    root = ET.Element(f"{{{_SVG}}}svg")
    root.set("viewBox", f"{cell.left:g} {cell.top:g} {cell.width:g} {cell.height:g}")
    definitions = ET.SubElement(root, f"{{{_SVG}}}defs")
    definitions.extend(by_id[identifier] for identifier in elsewhere)
    root.append(axes)
    root = copy.deepcopy(root)
    for element in root.iter():
        _adapt(element, name)
    _compact(root)
    root.set("style", f"aspect-ratio: {cell.width:.0f} / {cell.height:.0f}")
    root.set("role", "img")
    root.set("aria-label", alternative)
    return _written(root)


def glyph(style: Style) -> str:
    """A row's marker as a small `<svg>` for tables and legends."""
    marker = MarkerStyle(style.marker)
    outline = marker.get_path().transformed(marker.get_transform())
    reach = float(np.abs(outline.vertices).max())
    steps = []
    for points, code in outline.iter_segments(simplify=False, curves=True):
        scaled = " ".join(
            f"{10 * v / reach:.1f}" for v in points * np.tile((1, -1), len(points) // 2)
        )
        steps.append(_COMMANDS[int(code)] + ("" if code == Outline.CLOSEPOLY else scaled))
    colour = css_variable_of(style.colour) or style.colour
    fill = colour if style.filled else css_variable_of(SURFACE[0])
    return (
        '<svg class="glyph" viewBox="-13 -13 26 26" aria-hidden="true">'
        f'<path d="{"".join(steps)}" style="fill: {fill}; stroke: {colour}"/></svg>'
    )


_COMMANDS = {
    int(Outline.MOVETO): "M",
    int(Outline.LINETO): "L",
    int(Outline.CURVE3): "Q",
    int(Outline.CURVE4): "C",
    int(Outline.CLOSEPOLY): "Z",
}


def _adapt(element: ET.Element, name: str) -> None:
    identifier = element.attrib.pop("id", None)
    if identifier is not None and identifier.startswith(MARK_PREFIX):
        for key, text in json.loads(identifier.removeprefix(MARK_PREFIX)).items():
            element.set(f"data-{key}", text)
    elif identifier is not None and not re.fullmatch(r"[a-zA-Z0-9]+_\d+|patch.*", identifier):
        element.set("id", f"{name}-{identifier}")
    target = element.get(f"{{{_XLINK}}}href")
    if target is not None and target.startswith("#"):
        element.set(f"{{{_XLINK}}}href", f"#{name}-{target[1:]}")
    for attribute in ("style", "fill", "stroke", "clip-path"):
        value = element.get(attribute)
        if value is not None:
            value = _REFERENCE.sub(rf"url(#{name}-\1)", value)
            value = _COLOUR.sub(lambda m: css_variable_of(m.group()) or m.group(), value)
            element.set(attribute, value)


def _compact(root: ET.Element) -> None:
    """Half the size for the same picture: what nothing refers to or depends on is left out.

    Names of fonts go as well: whoever shows the drawing sets them once.
    """
    for tag in ("metadata", "defs/style"):
        _remove(root, tag)
    root.set("stroke-linejoin", "round")  # all that the style said beyond SVG's own defaults
    _flatten(root)
    referred = _references(root)
    for element in root.iter():
        if element.get("id") not in referred:
            element.attrib.pop("id", None)
        if _NO_TURN.match(element.get("transform", "")):
            del element.attrib["transform"]
        for attribute in ("d", "transform", "x", "y"):
            if attribute in element.attrib:
                value = _NUMBER.sub(lambda m: f"{float(m.group()):.2f}", element.attrib[attribute])
                element.set(attribute, " ".join(value.split()))
        if "style" in element.attrib:
            element.set("style", _FAMILY.sub("", element.attrib["style"]))


def _references(root: ET.Element) -> set[str]:
    """The ids that are referred to."""
    attributes = [value for element in root.iter() for value in element.attrib.values()]
    referred = {name for value in attributes for name in _REFERENCE.findall(value)}
    return referred | {value[1:] for value in attributes if value.startswith("#")}


def _flatten(parent: ET.Element) -> None:
    """Put the content of groups that say nothing in their place; drop what cannot be seen."""
    children: list[ET.Element] = []
    for child in parent:
        _flatten(child)
        if child.tag == f"{{{_SVG}}}g" and not child.attrib.keys() - {"id"}:
            children += child
        elif child.get("style") != "fill: none":
            children.append(child)
    parent[:] = children
    for element in (parent, *children):
        element.tail = None
    if not (parent.text or "").strip():
        parent.text = None


def _written(root: ET.Element) -> str:
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    return ET.tostring(root, encoding="unicode")


def _remove(root: ET.Element, path: str) -> None:
    *parents, tag = path.split("/")
    for parent in root.findall("/".join(f"{{{_SVG}}}{p}" for p in parents) or "."):
        for child in parent.findall(f"{{{_SVG}}}{tag}"):
            parent.remove(child)
