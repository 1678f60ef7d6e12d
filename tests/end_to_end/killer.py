"""Runs a recipe in a child that kills itself at a chosen moment. Not a test: `test_kill.py` starts it.

    python killer.py RECIPE OUT SEED...

Each SEED picks a moment: some steps on, or before or after a file is put in place. The parent never
computes, so it can fork again and again after one import of torch. At last the run is resumed and left to end.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

from xmodal.recipe import load_recipe
from xmodal.run.events import Event, Stepped
from xmodal.run.session import train


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run(recipe: str, out: str, seed: int | None) -> None:
    """Goes on with the run; with a seed, dies at a moment of its choosing."""
    chosen = random.Random(seed)
    at, writes, before = chosen.randint(1, 9), chosen.randint(1, 9), chosen.random() < 0.5
    real, calls, steps = Path.replace, 0, 0

    def at_step(event: Event) -> None:
        nonlocal steps
        steps += isinstance(event, Stepped)
        if steps == at:
            die()

    def at_write(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == writes and before:
            die()
        result = real(self, target)
        if calls == writes:
            die()
        return result

    listeners = []
    if seed is not None and chosen.random() < 0.6:
        listeners = [at_step]
    elif seed is not None:
        Path.replace = at_write  # type: ignore[method-assign,assignment]
    train(load_recipe(recipe), out=Path(out), resume=True, listeners=listeners)


def main() -> None:
    recipe, out, *seeds = sys.argv[1:]
    for seed in [*map(int, seeds), None]:
        child = os.fork()
        if not child:
            run(recipe, out, seed)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{'killed' if os.WIFSIGNALED(status) else f'ended {os.WEXITSTATUS(status)}'}\n")


if __name__ == "__main__":
    main()
