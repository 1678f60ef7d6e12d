"""What is frozen: a spec says it in one line, a plan is a spec resolved on one model, a seal proves that it held.

    plan = freeze.parse("body - ln - pos").on(model, name="gpt2")
    plan.apply()

Names are imported when they are asked for: reading a spec needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xmodal.freeze.plan import Entry, Plan
    from xmodal.freeze.seal import Seal
    from xmodal.freeze.select import Clause, Selection
    from xmodal.freeze.spec import parse
    from xmodal.freeze.terms import Spec

__all__ = ["Clause", "Entry", "Plan", "Seal", "Selection", "Spec", "parse"]

_HOMES = {
    "Clause": "select",
    "Entry": "plan",
    "Plan": "plan",
    "Seal": "seal",
    "Selection": "select",
    "Spec": "terms",
    "parse": "spec",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
