"""What was learned elsewhere: bodies, their anatomy, how they start and where their weights come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmodal.components import Entry, find, load

if TYPE_CHECKING:
    from xmodal.bodies.adapter import Adapter
    from xmodal.bodies.options import BodyOptions

_GPT2 = Entry("xmodal.bodies.options:GPT2Options", "xmodal.bodies.gpt2:GPT2")

BODIES: dict[str, Entry] = {
    "gpt2": _GPT2,
    "gpt2-large": _GPT2,
    "gpt2-medium": _GPT2,
    "gpt2-xl": _GPT2,
    "minilm-l6": Entry("xmodal.bodies.options:BertOptions", "xmodal.bodies.bert:Bert"),
}


def skeleton(options: BodyOptions) -> Adapter:
    """The body without its weights, on the meta device: shapes and claims, no memory and no download."""
    return load(find("body", BODIES, options.name).builds)(options.anatomy(), options.dropout)
