"""Horizontal bars as SVG, readable on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import attrs

from benchmarks.table import Whose

WIDTH, LEFT, RIGHT = 860, 340, 92
"""Of the picture, left of the bars, and right of them, in pixels."""
TOP, STEP, BAR = 84, 46, 22
"""Above the bars, from bar to bar, and of one bar, in pixels."""

STYLE = """
text { font: 14px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
.title { font-size: 18px; font-weight: 600 }
.small { font-size: 12px; fill: #59636e }
.page { fill: #ffffff; stroke: #d1d9e0 }
.axis { stroke: #d1d9e0 }
.ours { fill: #2563eb }
.peer { fill: #a3adb8 }
.floor { fill: #ffffff; stroke: #59636e; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .small { fill: #9198a1 }
  .page { fill: #151b23; stroke: #3d444d }
  .axis { stroke: #3d444d }
  .ours { fill: #58a6ff }
  .peer { fill: #656c76 }
  .floor { fill: #151b23; stroke: #9198a1 }
}
"""


@attrs.frozen
class Bar:
    """
    One bar.

    Args:
        label: What it stands for.
        value: How long it is.
        shown: The value, for people.
        whose: Its colour.
        small: What stands below the label.
    """

    label: str
    value: float
    shown: str
    whose: Whose
    small: str = ""


def svg(title: str, unit: str, bars: Sequence[Bar]) -> str:
    """
    Draw *bars* from top to bottom, all from zero.

    Args:
        title: What is shown.
        unit: What the values are, and whether more or less is better.
        bars: One or more.
    """
    height = TOP + STEP * len(bars) + 10
    longest = max(bar.value for bar in bars)
    scale = (WIDTH - LEFT - RIGHT) / longest if longest else 0.0
    drawn = [_drawn(bar, TOP + STEP * number, scale) for number, bar in enumerate(bars)]
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
                f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">'
            ),
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="page" x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="8"/>',
            f'<text class="title" x="24" y="36">{escape(title)}</text>',
            f'<text class="small" x="24" y="58">{escape(unit)}</text>',
            *drawn,
            f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{TOP - 8}" y2="{height - 16}"/>',
            "</svg>",
            "",
        ]
    )


def _drawn(bar: Bar, top: float, scale: float) -> str:
    middle, end = top + BAR / 2, LEFT - 12
    label = middle + (5 if not bar.small else -2)
    small = f'<text class="small" x="{end}" y="{middle + 14:g}" text-anchor="end">'
    return "\n".join(
        [
            f'<text x="{end}" y="{label:g}" text-anchor="end">{escape(bar.label)}</text>',
            *([f"{small}{escape(bar.small)}</text>"] if bar.small else []),
            (
                f'<rect class="{bar.whose}" x="{LEFT}" y="{top:g}" '
                f'width="{max(bar.value * scale, 1):.1f}" height="{BAR}" rx="3"/>'
            ),
            (
                f'<text x="{LEFT + bar.value * scale + 8:.1f}" y="{middle + 5:g}">'
                f"{escape(bar.shown)}</text>"
            ),
        ]
    )
