"""Ctrl-C and SIGTERM: an end at once, or a question that a run asks."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from xmodal.run.events import Ended, Event, Started


class Signals:
    """While a run trains, Ctrl-C and SIGTERM ask it to save itself and stop, and a second one stops at once.

    Before it has begun there is nothing to save: while data is read and floors are computed the first one ends it.

    Attributes:
        training: whether something trains now.
    """

    def __init__(self) -> None:
        self._asked = self.training = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def follow(self, event: Event) -> None:
        """Listens to runs, to know when one trains."""
        if isinstance(event, Started | Ended):
            self.training = isinstance(event, Started)

    def _ask(self, number: int, frame: object) -> None:
        if self._asked or not self.training:
            raise KeyboardInterrupt
        self._asked = True
        with suppress(OSError):
            # Not through rich: the signal may have come in the middle of its own writing.
            os.write(2, b"\nstopping, and saving first; once more stops at once\n")

    def __call__(self) -> bool:
        """Whether somebody asked."""
        return self._asked
