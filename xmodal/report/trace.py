"""What `events.jsonl` tells of a run's course. The file is anybody's text: what cannot be read is left out and said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from xmodal.run.result import EVENTS, course_of, refuse_constant

_PLENTY = '{"event": "stepped"'
"""How most lines start, as the run folder writes them; nothing here needs them, so they are not parsed."""


@dataclass(frozen=True)
class Trace:
    """The course of a run.

    Attributes:
        looks: steps taken and validation accuracy at each look, in order.
        norms: root mean squares at step 0, by name; empty where no start is on record.
        fault: why there is less than there could be; empty if there is not.
    """

    looks: tuple[tuple[int, float], ...] = ()
    norms: Mapping[str, float] = field(default_factory=dict)
    fault: str = ""


def read_trace(folder: Path, result: Mapping[str, Any]) -> Trace:
    """The course of the run in `folder`, if it is the one that its result says."""
    looks: dict[int, float] = {}
    norms: dict[str, float] = {}
    bad = 0
    try:
        with (folder / EVENTS).open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith(_PLENTY):
                    continue
                try:
                    event = json.loads(line, parse_constant=refuse_constant)
                    if event["event"] == "evaluated" and event["split"] == "val":
                        looks[_step(event["step"])] = _share(event["scores"]["accuracy"])
                    elif event["event"] == "started":
                        at_start = {str(name): _size(value) for name, value in event["norms"].items()}
                        norms = norms or at_start  # a run that was resumed starts again, and says none
                except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                    bad += 1
    except OSError as error:
        return Trace(fault=f"{EVENTS}: {error.strerror or error}")
    if result.get("course") not in (None, course_of(sorted(looks.items()))):
        return Trace(fault=f"{EVENTS}: its looks at validation are not those of the result")
    fault = f"{EVENTS}: {bad} line{'s' * (bad > 1)} cannot be read" if bad else ""
    return Trace(tuple(sorted(looks.items())), norms, fault)


def _step(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError("no step")
    return value


def _share(value: Any) -> float:
    if not 0 <= _size(value) <= 1:
        raise ValueError("no share")
    return float(value)


def _size(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ValueError("no size")
    return float(value)
