"""Plots as part of a page: SVG without what only a file of its own needs, and with ids that do not meet."""

from __future__ import annotations

import re
from html import escape
from xml.etree import ElementTree

from accelsim.plots import style

_LINK = re.compile(r"url\(#([^)]+)\)")
_LONG = re.compile(r"-?\d+\.\d{3,}")
_DROPPED = ("metadata", "title", "style")  # a style would hold for the whole page
_PLACES = ("d", "x", "y", "transform", "points")
_STYLE = "stroke-linejoin: round; stroke-linecap: butt"  # what matplotlib's style element says


def figure(axes: style.Axes, prefix: str, title: str) -> str:
    """A plot with its title."""
    return f"<figure><figcaption>{escape(title)}</figcaption>{inline(axes, prefix, title)}</figure>"


def inline(axes: style.Axes, prefix: str, label: str) -> str:
    """The figure of ``axes`` as an ``svg`` element. ``prefix`` goes before its ids, ``label`` is read out for it."""
    text = style.svg(axes)
    root = ElementTree.fromstring(text)
    _simplify(root, prefix, {*_LINK.findall(text), *re.findall(r'href="#([^"]+)"', text)})
    root.attrib = {"viewBox": root.attrib["viewBox"], "style": _STYLE, "role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _simplify(element: ElementTree.Element, prefix: str, meant: set[str]) -> None:
    """Names without namespaces, which HTML does not want; of ids only those that are ``meant`` somewhere; places to a
    hundredth of a point; no descriptions and no white space between elements.
    """
    element.tag = _local(element.tag)
    for child in list(element):
        if _local(child.tag) in _DROPPED:
            element.remove(child)
        else:
            _simplify(child, prefix, meant)
    attributes = {_local(name): value for name, value in element.attrib.items()}
    element.attrib = {
        name: _value(name, value, prefix) for name, value in attributes.items() if name != "id" or value in meant
    }
    if element.tag not in ("text", "tspan"):
        element.text = None
    element.tail = None


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _value(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name == "href":
        return f"#{prefix}{value[1:]}"
    if name in _PLACES:
        return " ".join(_LONG.sub(lambda match: f"{float(match[0]):.2f}", value).split())
    return _LINK.sub(rf"url(#{prefix}\1)", value)
