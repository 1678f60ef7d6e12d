"""How numbers are written, on the terminal and in reports alike."""

from __future__ import annotations


def percent(share: float | None) -> str:
    """`99.2 %`, or a dash for what is not known."""
    return "–" if share is None else f"{hundred(share)} %"


def hundred(share: float | None) -> str:
    """`99.2`, or a dash for what is not known."""
    return "–" if share is None else f"{100 * share:.1f}"


def points(difference: float | None) -> str:
    """`+2.1`, a difference of shares in points, or a dash for what is not known."""
    return "–" if difference is None else f"{100 * difference:+.1f}"
