"""Turn a matplotlib figure into files, and its axes into SVG that lives inside the page."""

from __future__ import annotations

import copy
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline

from simo_cl.report.drawing import MARK_PREFIX, STYLE
from simo_cl.results.styles import SURFACE, Style, css_variable_of

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_LINK, _METADATA, _STYLE = f"{{{_XLINK}}}href", f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"
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
    """The figure as SVG, with its marks, for `save_files` and `cut_panel`.

    Half of matplotlib's size for the same picture. Names of fonts are left out: whoever shows the
    drawing sets them once.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    root = ET.fromstring(buffer.getvalue())
    root.set("stroke-linejoin", "round")  # all that its style says beyond SVG's own defaults
    for element in root.iter():
        for child in element.findall(_METADATA) + element.findall(_STYLE):
            element.remove(child)
        if _NO_TURN.match(element.get("transform", "")):
            del element.attrib["transform"]
        for attribute in ("d", "transform", "x", "y"):
            if attribute in element.attrib:
                value = _NUMBER.sub(lambda m: f"{float(m.group()):.2f}", element.attrib[attribute])
                element.set(attribute, " ".join(value.split()))
        if "style" in element.attrib:
            element.set("style", _FAMILY.sub("", element.attrib["style"]))
    return root


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
    root.set("font-family", ", ".join(f"'{name}'" for name in STYLE["font.sans-serif"]))
    svg.write_text(_written(root), encoding="utf-8")
    figure.savefig(png, facecolor="white", dpi=160, metadata={"Software": None})
    if pdf:
        paths.append(Path(f"{stem}{PDF}"))
        figure.savefig(paths[-1], facecolor="white", metadata={"CreationDate": None})
    return tuple(paths)


def cut_panel(
    drawing: ET.Element,
    gid: str,
    box: Sequence[float],
    name: str,
    alternative: str,
) -> str:
    """One set of axes of a drawing as an `<svg>` element for the page.

    Colours become CSS variables, so that it follows a light or dark page; marks become
    `data-series` and `data-tip`; ids get the panel's name in front, so that several can share a
    page.

    Args:
        drawing: from `drawing_of`.
        gid: of the axes.
        box: left, top, width and height of what the axes have for themselves, in points.
        name: unique in the page.
        alternative: what the panel shows, for readers who cannot see it.
    """
    by_id = {element.get("id"): element for element in drawing.iter() if element.get("id")}
    axes = by_id[gid]
    elsewhere = _references(axes) - {element.get("id") for element in axes.iter()}
    root = ET.Element(
        f"{{{_SVG}}}svg",
        {
            "viewBox": " ".join(f"{number:g}" for number in box),
            "stroke-linejoin": "round",
            "style": f"aspect-ratio: {box[2]:.0f} / {box[3]:.0f}",
            "role": "img",
            "aria-label": alternative,
        },
    )
    ET.SubElement(root, f"{{{_SVG}}}defs").extend(by_id[each] for each in sorted(elsewhere))
    root.append(axes)
    root = copy.deepcopy(root)
    for element in root.iter():
        _adapt(element, name)
    return _written(root)


def glyph(style: Style) -> str:
    """A row's marker as a small `<svg>` for tables and legends."""
    marker = MarkerStyle(style.marker)
    outline = marker.get_path().transformed(marker.get_transform())
    scale = 10 / float(np.abs(outline.vertices).max())
    steps = []
    for points, code in outline.iter_segments(simplify=False, curves=True):
        numbers = scale * points * np.tile((1, -1), len(points) // 2)
        steps.append(_COMMANDS[int(code)] + " ".join(f"{number:.1f}" for number in numbers))
    path = "".join("Z" if step[0] == "Z" else step for step in steps)
    colour = css_variable_of(style.colour) or style.colour
    fill = colour if style.filled else css_variable_of(SURFACE[0])
    return (
        '<svg class="glyph" viewBox="-13 -13 26 26" aria-hidden="true">'
        f'<path d="{path}" style="fill: {fill}; stroke: {colour}"/></svg>'
    )


_COMMANDS = {
    int(Outline.MOVETO): "M",
    int(Outline.LINETO): "L",
    int(Outline.CURVE3): "Q",
    int(Outline.CURVE4): "C",
    int(Outline.CLOSEPOLY): "Z",
}


def _adapt(element: ET.Element, name: str) -> None:
    identifier = element.attrib.pop("id", "")
    if identifier.startswith(MARK_PREFIX):
        for key, text in json.loads(identifier.removeprefix(MARK_PREFIX)).items():
            element.set(f"data-{key}", text)
    elif identifier:
        element.set("id", f"{name}-{identifier}")
    for attribute, value in element.attrib.items():
        if attribute == _LINK and value.startswith("#"):
            element.set(attribute, f"#{name}-{value[1:]}")
        elif attribute in ("style", "fill", "stroke", "clip-path"):
            value = _REFERENCE.sub(rf"url(#{name}-\1)", value)
            value = _COLOUR.sub(lambda m: css_variable_of(m.group()) or m.group(), value)
            element.set(attribute, value)


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
        child.tail = None
        if child.tag == f"{{{_SVG}}}g" and not child.attrib:
            children += child
        elif child.get("style") != "fill: none":
            children.append(child)
    parent[:] = children
    if not (parent.text or "").strip():
        parent.text = None


def _written(root: ET.Element) -> str:
    """Without what nothing refers to or depends on."""
    referred = _references(root)
    for element in root.iter():
        if element.get("id") not in referred:
            element.attrib.pop("id", None)
    _flatten(root)
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    return ET.tostring(root, encoding="unicode")
