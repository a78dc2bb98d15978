"""The colours and the font sizes of the docks, taken from the napari theme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari.settings import get_settings
from napari.utils.theme import get_theme


@dataclass(frozen=True)
class Look:
    """What a dock looks like under one napari theme; colours are ``#rrggbb``.

    Attributes
    ----------
    muted
        For what is said beside: between text and background.
    accent
        For the one button that matters and for what is selected.
    font_pt
        The size of ordinary text; notes are one point smaller.
    dark
        Whether the theme is a dark one.
    """

    text: str
    muted: str
    background: str
    field: str
    border: str
    accent: str
    warning: str
    error: str
    good: str
    font_pt: int
    dark: bool


def look_of(viewer: Any) -> Look:
    """Return the look that fits the theme of a viewer and napari's font size."""
    theme = get_theme(viewer.theme)
    text, background = _rgb(theme.text), _rgb(theme.background)
    dark = theme.type == "dark"
    return Look(
        text=_hex(text),
        muted=_hex(_mix(text, background, 0.68)),
        background=_hex(background),
        field=_hex(_rgb(theme.foreground)),
        border=_hex(_rgb(theme.primary)),
        accent=_hex(_rgb(theme.current)),
        warning=_hex(_rgb(theme.warning)),
        # napari's own red is too dark to be seen as a line on its dark background.
        error="#f2606b" if dark else "#c4121f",
        good="#53b97c" if dark else "#1f8a4c",
        # napari writes labels one point larger than its base size.
        font_pt=get_settings().appearance.font_size + 1,
        dark=dark,
    )


def stylesheet(look: Look) -> str:
    """Return the style of everything in a dock; widgets opt in by the property ``role``."""
    return f"""
    QLabel, QPushButton, QLineEdit, QComboBox, QAbstractSpinBox, QCheckBox, QRadioButton, QTableView,
    QHeaderView::section, QPlainTextEdit {{ font-size: {look.font_pt}pt; }}
    Bars, Heatmap, _Strip {{ font-size: {look.font_pt - 1}pt; }}
    QLabel[role="note"], QPlainTextEdit[role="details"] {{ font-size: {look.font_pt - 1}pt; }}
    QLabel[role="note"] {{ color: {look.muted}; }}
    QLabel[role="complaint"] {{ color: {look.error}; }}
    QLabel[role="title"] {{ font-weight: bold; }}
    QPushButton {{ padding: 4px 8px; }}
    QPushButton[role="primary"] {{
        background-color: {look.accent}; font-weight: bold; padding: 7px; border: 1px solid {look.accent};
    }}
    QPushButton[role="primary"]:hover, QPushButton[role="primary"]:focus {{ border: 1px solid {look.text}; }}
    QPushButton[role="primary"]:disabled {{
        background-color: {look.field}; color: {look.muted}; border: 1px solid {look.border};
    }}
    QPushButton[role="flat"], QToolButton[role="flat"] {{
        background-color: transparent; border: 1px solid {look.border}; border-radius: 2px; padding: 3px 7px;
        font-size: {look.font_pt}pt;
    }}
    QPushButton[role="flat"]:hover, QToolButton[role="flat"]:hover,
    QPushButton[role="flat"]:focus, QToolButton[role="flat"]:focus {{ border: 1px solid {look.text}; }}
    QPushButton[role="flat"]:checked, QToolButton[role="flat"]:checked {{ background-color: {look.accent}; }}
    QPushButton[role="flat"]:disabled, QToolButton[role="flat"]:disabled {{
        background-color: transparent; color: {look.muted};
    }}
    QPushButton[role="group"] {{
        background-color: transparent; border: none; border-top: 1px solid {look.border}; border-radius: 0px;
        text-align: left; padding: 6px 0px 5px 0px; font-weight: bold;
    }}
    QPushButton[role="group"]:hover, QPushButton[role="group"]:focus {{ border-top: 1px solid {look.text}; }}
    QFrame[role="message"] {{ background-color: {look.field}; border-left: 3px solid {look.border}; }}
    QFrame[role="message"][level="good"] {{ border-left: 3px solid {look.good}; }}
    QFrame[role="message"][level="warning"] {{ border-left: 3px solid {look.warning}; }}
    QFrame[role="message"][level="error"] {{ border-left: 3px solid {look.error}; }}
    QTableView {{
        background-color: {look.background}; alternate-background-color: {look.field};
        selection-background-color: {look.accent}; selection-color: {look.text}; border: 1px solid {look.border};
    }}
    QTableView::item:selected {{ background-color: {look.accent}; }}
    QHeaderView::section {{ padding: 3px; border: none; border-right: 1px solid {look.background}; }}
    QLineEdit {{ padding: 4px; border: 1px solid {look.border}; border-radius: 2px; }}
    QLineEdit:focus {{ border: 1px solid {look.accent}; }}
    QLineEdit[wrong="true"] {{ border: 1px solid {look.error}; }}
    QProgressBar::chunk {{ background-color: {look.accent}; }}
    """


def _rgb(colour: Any) -> tuple[int, int, int]:
    red, green, blue = colour.as_rgb_tuple()[:3]
    return int(red), int(green), int(blue)


def _mix(one: tuple[int, int, int], other: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    red, green, blue = (round(share * a + (1 - share) * b) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def restyle(widget: Any) -> None:
    """Apply the stylesheet again after a property that it looks at has changed."""
    widget.style().unpolish(widget)
    widget.style().polish(widget)
