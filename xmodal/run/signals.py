"""Ctrl-C and SIGTERM as a question that a run asks."""

from __future__ import annotations

import os
import signal
from contextlib import suppress


class Signals:
    """Ctrl-C and SIGTERM ask a run to save itself and stop; a second one stops at once."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        with suppress(OSError):
            # Not through rich: the signal may have come in the middle of its own writing.
            os.write(2, b"\nstopping, and saving first; once more stops at once\n")

    def __call__(self) -> bool:
        """Whether somebody asked."""
        return self._asked
