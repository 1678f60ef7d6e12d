"""`hf:ORG/NAME`: any model of the hub whose architecture is one of ours."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import Field

from xmodal import sources
from xmodal.bodies import anatomy as shapes
from xmodal.bodies.anatomy import Anatomy
from xmodal.bodies.family import Family
from xmodal.bodies.options import BodyOptions
from xmodal.components import load, lookup, plugins
from xmodal.errors import UsageError, did_you_mean
from xmodal.sources.bodies import WEIGHTS, tensor_names

FAMILIES = {
    "bert": ("xmodal.bodies.bert:read", "xmodal.bodies.bert:Bert"),
    "gpt2": ("xmodal.bodies.gpt2:read", "xmodal.bodies.gpt2:GPT2"),
    "llama": ("xmodal.bodies.llama:read", "xmodal.bodies.llama:Llama"),
    "longformer": ("xmodal.bodies.longformer:read", "xmodal.bodies.longformer:Longformer"),
    "t5": ("xmodal.bodies.t5:read", "xmodal.bodies.t5:T5"),
}
"""What a configuration calls an architecture; what reads its shape, and its family."""


class HubBodyOptions(BodyOptions):
    """A model of the Hugging Face hub, as `hf:ORG/NAME`, if xmodal knows its architecture and claims all its tensors.

    `xmodal get body hf:ORG/NAME` fetches it first: its shape is read from its own configuration. Code that a
    repository brings is never run.
    """

    name: str = Field(pattern=r"^hf:[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?$")
    """`hf:` and the name of the repository."""

    def whole(self) -> Anatomy:
        """As `BodyOptions.whole`, from the configuration that was fetched or lies in `path`."""
        folder = Path(self.path) if self.path else sources.find("bodies", self.name)
        return load(FAMILIES[known_type(folder)][0])(folder)


def known_type(folder: Path) -> str:
    """What `config.json` in `folder` calls its architecture.

    Raises:
        UsageError: no family of ours has it.
    """
    found = shapes.model_type(folder)
    if found not in FAMILIES:
        weights = folder / WEIGHTS
        names = tensor_names(weights) if weights.is_file() else []
        plugin = of_plugins(found)
        fix = f"body.name={plugin[0]}, with this folder as body.path" if plugin else shapes.NO_FAMILY
        orphans = f"; nobody claims its {len(names)} tensors: {', '.join(names[:3])}, and so on" if names else ""
        raise UsageError(
            f"no family for models of the type '{found}'{did_you_mean(found, FAMILIES)}",
            where=str(folder / "config.json"),
            why=f"there are families for {', '.join(FAMILIES)}{orphans}",
            fix=fix,
        )
    return found


def of_plugins(kind: str) -> tuple[str, Any] | None:
    """The name and the class of a plugin that claims models of this type of transformers; None where there is none."""
    for name in plugins("body"):
        with suppress(UsageError, ImportError, AttributeError):  # one that cannot be imported, and is another's fault
            entry = lookup("body", {}, name)
            if entry and kind in getattr(made := load(entry.builds), "model_types", ()):
                return name, made
    return None


def build_family(options: BodyOptions) -> Family:
    """The family of the model that `options` name."""
    return load(FAMILIES[options.anatomy().family][1])(options)
