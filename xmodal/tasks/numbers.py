"""Numbers of the users' own data: read from cells, and standardised by training. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xmodal.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

LARGEST = 1e100
"""The greatest number that a cell may hold."""


def number(word: str, column: str, place: str) -> float:
    """A cell as a number.

    Raises:
        UsageError: it is none, not finite, or so large that its square is not.
    """
    try:
        value = float(word) if "_" not in word else math.nan  # Python reads 1_000
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        fix = "write it as 1.5 or 2e-3, or take the row out"
        raise UsageError(f"'{word[:40]}' in column '{column}' is not a number", where=place, fix=fix)
    if abs(value) > LARGEST:
        why = "means and deviations of such numbers cannot be computed"
        raise UsageError(
            f"'{word[:40]}' in column '{column}' is beyond {LARGEST:g}", where=place, why=why, fix="mend it"
        )
    return value


def deviation_of(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Standard deviations along `axis`; 1 where it is no more than the rounding of equal numbers."""
    import numpy as np

    deviation, size = values.std(axis=axis), np.abs(values).max(axis=axis)
    return np.where(deviation > 1e-12 * size, deviation, 1)


def standardised(standard: np.ndarray, columns: Sequence[str], axis: int, where: str) -> np.ndarray:
    """Standardised numbers as float32; `axis` is that of the columns. They come in float64, since a column may have a
    large offset, which float32 would drown.

    Raises:
        UsageError: a number is too far from those of training.
    """
    import numpy as np

    furthest = np.abs(np.moveaxis(standard, axis, 0)).reshape(len(columns), -1).max(axis=1, initial=0)
    for column, most in zip(columns, furthest, strict=True):
        if most > np.finfo(np.float32).max:
            what = f"column '{column}' has a number that is {most:.0e} deviations from the mean of training"
            raise UsageError(what, where=where, fix="mend the number, or take the column out")
    return standard.astype(np.float32)
