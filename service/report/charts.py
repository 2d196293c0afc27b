"""Pictures as inline SVG: bars of one group each, in the order of the rules, labelled where there is room.

Positions are percentages of the picture's width, so that a bar stretches and its text doesn't.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.report.view import Bar

LABEL_FROM = 7.0  # percent of the width that a segment needs to carry its share


@dataclass(frozen=True)
class Piece:
    """One segment as it is drawn."""

    css: str
    x: float
    width: float
    middle: float
    label: str
    tip: str


@dataclass(frozen=True)
class DrawnBar:
    """One bar as it is drawn, and what it says in words."""

    group: str
    errors: str
    pieces: tuple[Piece, ...]
    alternative: str


def draw(bars: Sequence[Bar]) -> tuple[DrawnBar, ...]:
    """Return the bars, each over the whole width: shares of the group's top-1 errors."""
    drawn = []
    for bar in bars:
        x, pieces = 0.0, []
        for segment in bar.segments:
            width = 100 * segment.share
            if segment.count:
                label = segment.share_text if width >= LABEL_FROM else ""
                tip = f"{segment.title}: {segment.count_text} ({segment.share_text})"
                pieces.append(
                    Piece(
                        f"type-{int(segment.error_type)}",
                        round(x, 2),
                        round(width, 2),
                        round(x + width / 2, 2),
                        label,
                        tip,
                    )
                )
            x += width
        told = ", ".join(f"{each.title} {each.share_text}" for each in bar.segments if each.count)
        alternative = f"{bar.group}: {bar.errors_text} errors; {told or 'none'}"
        drawn.append(DrawnBar(bar.group, bar.errors_text, tuple(pieces), alternative))
    return tuple(drawn)
