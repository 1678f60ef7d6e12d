"""A stop after so many steps."""

from __future__ import annotations

from xmodal.run.events import Event, Stepped


class StopAt:
    """Listens, and asks for a stop after so many steps."""

    def __init__(self, step: int) -> None:
        self.step, self.now = step, 0

    def follow(self, event: Event) -> None:
        if isinstance(event, Stepped):
            self.now = event.step

    def __call__(self) -> bool:
        return self.now >= self.step
