"""What all reports are made of: one HTML page with its style, its script and its pictures inside."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from napari_st2msi.report.figures import png

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def filled(template: str, **parts: str) -> str:
    """Return a page: ``page.html`` around a template of this folder, with their parts.

    Parameters
    ----------
    parts
        As HTML, by their names in the template and in ``page.html``; style, script (tables of class ``sorted`` sort and
        filter) and version are given.
    """
    from napari_st2msi import __version__

    content = Template(_text(template)).substitute(parts)
    shared = {"style": _text("style.css"), "script": _text("table.js"), "version": escape(__version__)}
    return Template(_text("page.html")).substitute(parts, content=content, **shared)


def figure_tag(figure: Figure, caption: str = "", *, alt: str = "") -> str:
    """Return a figure as HTML, with what is said below it."""
    picture = b64encode(png(figure)).decode("ascii")
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    width = round(figure.get_figwidth() * 96)
    return (
        f'<figure><img alt="{escape(alt or caption)}" width="{width}" src="data:image/png;base64,{picture}">'
        f"{words}</figure>"
    )


def _text(name: str) -> str:
    return files("napari_st2msi.report").joinpath(name).read_text(encoding="utf-8")
