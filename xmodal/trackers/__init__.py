"""Where curves and results are logged to besides the run folder. A tracker is imported only when it is named."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from xmodal.components import load
from xmodal.errors import MissingError, UsageError, XmodalError, did_you_mean
from xmodal.recipe import Recipe
from xmodal.trackers.listener import Listening

TRACKERS = {
    "mlflow": "xmodal.trackers.mlflow:Mlflow",
    "tensorboard": "xmodal.trackers.tensorboard:TensorBoard",
    "trackio": "xmodal.trackers.trackio:Trackio",
    "wandb": "xmodal.trackers.wandb:Wandb",
}


@contextmanager
def track(names: Sequence[str], recipe: Recipe, tell: Callable[[str], None] | None = None) -> Iterator[list[Listening]]:
    """Listeners that log a run to these trackers, and are closed however the run ends.

    Args:
        names: of trackers, each once.
        recipe: what is run; trackers get it as the run's configuration.
        tell: called with a sentence when a tracker fails while the run goes on; a Python warning, if None.

    Raises:
        UsageError: there is no such tracker.
        MissingError: its package is not installed.
        XmodalError: its package cannot be imported.
    """
    kinds = {name: _kind(name) for name in names}
    listening = [Listening(name, kind, recipe, tell or _warn) for name, kind in kinds.items()]
    try:
        yield listening
    except Exception:
        for one in listening:
            one.close("failed")
        raise
    finally:
        for one in listening:
            one.close("interrupted")  # nothing, where the run has ended


def _kind(name: str) -> Callable[..., object]:
    if not isinstance(name, str) or name not in TRACKERS:
        raise UsageError(
            f"no tracker '{name}'{did_you_mean(str(name), TRACKERS)}",
            where="trackers",
            why=f"known: {', '.join(TRACKERS)}",
            fix="name one of these; listeners= takes any function that is called with events",
        )
    try:
        return load(TRACKERS[name])
    except ImportError as error:
        raise MissingError(
            f"the package {name} cannot be imported",
            where="trackers",
            why=f"{type(error).__name__}: {error}",
            fix=f"pip install 'xmodal[{name}]'",
        ) from None
    except Exception as error:  # whatever a stranger's library does
        raise XmodalError(
            f"the package {name} is installed and cannot be imported",
            where="trackers",
            why=f"{type(error).__name__}: {error}",
            fix=f"put that right, or run without {name}",
        ) from error


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)
