"""Turn matplotlib figures into SVG and PNG files, and into SVG that lives inside the page."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline

from simo_cl.report.drawing import MARK_PREFIX, STYLE
from simo_cl.report.palette import SURFACE, Look, css_variable_of

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_FAMILY = re.compile(r"font-family: [^;]*; ?")
_NO_TURN = re.compile(r"^rotate\(-?0 [^)]*\)$")
_MARK = re.compile(rf""" id=(["']){MARK_PREFIX}.*?\1""")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def save_files(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.svg and `stem`.png, the same bytes for the same figure every time."""
    paths = [stem.with_suffix(".svg"), stem.with_suffix(".png")]
    root = ET.fromstring(_MARK.sub("", _drawn(figure, facecolor="white")))
    _compact(root)
    root.set("font-family", ", ".join(f"'{name}'" for name in STYLE["font.sans-serif"]))
    paths[0].write_text(_written(root), encoding="utf-8")
    figure.savefig(paths[1], facecolor="white", dpi=160, metadata={"Software": None})
    return paths


def inline_svg(figure: Figure, name: str, alternative: str) -> str:
    """The figure as an `<svg>` element for the page.

    Colours become CSS variables, so that it follows a light or dark page; marks become
    `data-series` and `data-tip`; ids get the figure's name in front, so that several figures can
    share a page.

    Args:
        name: unique in the page, made of letters, digits and hyphens.
        alternative: what the figure shows, for readers who cannot see it.
    """
    root = ET.fromstring(_drawn(figure))
    for element in root.iter():
        _adapt(element, name)
    _compact(root)
    width, height = (
        float(root.attrib.pop(side).removesuffix("pt")) for side in ("width", "height")
    )
    root.set("style", f"aspect-ratio: {width:.0f} / {height:.0f}")
    root.set("role", "img")
    root.set("aria-label", alternative)
    return _written(root)


def glyph(look: Look) -> str:
    """A row's marker as a small `<svg>` for tables and legends."""
    marker = MarkerStyle(look.marker)
    outline = marker.get_path().transformed(marker.get_transform())
    reach = float(np.abs(outline.vertices).max())
    steps = []
    for points, code in outline.iter_segments(simplify=False, curves=True):
        scaled = " ".join(
            f"{10 * v / reach:.1f}" for v in points * np.tile((1, -1), len(points) // 2)
        )
        steps.append(_COMMANDS[int(code)] + ("" if code == Outline.CLOSEPOLY else scaled))
    colour = css_variable_of(look.colour) or look.colour
    fill = colour if look.filled else css_variable_of(SURFACE[0])
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


def _drawn(figure: Figure, **options: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, **options)
    return buffer.getvalue()


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
    attributes = [value for element in root.iter() for value in element.attrib.values()]
    referred = {name for value in attributes for name in _REFERENCE.findall(value)}
    referred |= {value[1:] for value in attributes if value.startswith("#")}
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
