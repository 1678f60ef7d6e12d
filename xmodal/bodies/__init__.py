"""What was learned elsewhere: bodies, their anatomy, how they start and where their weights come from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xmodal.components import Entry, build, find, load
from xmodal.errors import UsageError

if TYPE_CHECKING:
    from xmodal.bodies.body import Body
    from xmodal.bodies.family import Family
    from xmodal.bodies.options import BodyOptions
    from xmodal.types import Site

_BERT = Entry("xmodal.bodies.bert:BertOptions", "xmodal.bodies.bert:Bert")
_GPT2 = Entry("xmodal.bodies.gpt2:GPT2Options", "xmodal.bodies.gpt2:GPT2")
_LLAMA = Entry("xmodal.bodies.llama:LlamaOptions", "xmodal.bodies.llama:Llama")
_LONGFORMER = Entry("xmodal.bodies.longformer:LongformerOptions", "xmodal.bodies.longformer:Longformer")
_T5 = Entry("xmodal.bodies.t5:T5Options", "xmodal.bodies.t5:T5")
_TRANSFORMER = Entry("xmodal.bodies.plain:TransformerOptions", "xmodal.bodies.plain:Transformer")
_VIT = Entry("xmodal.bodies.vit:VitOptions", "xmodal.bodies.vit:Vit")

BODIES: dict[str, Entry] = {
    "antiberty": _BERT,
    "bert-base": _BERT,
    "gpt2": _GPT2,
    "gpt2-large": _GPT2,
    "gpt2-medium": _GPT2,
    "gpt2-xl": _GPT2,
    "hf:": Entry("xmodal.bodies.hub:HubBodyOptions", "xmodal.bodies.hub:build_family"),
    "linformer": Entry("xmodal.bodies.linformer:LinformerOptions", "xmodal.bodies.linformer:Linformer"),
    "longformer-base": _LONGFORMER,
    "lstm": Entry("xmodal.bodies.lstm:LstmOptions", "xmodal.bodies.lstm:Lstm"),
    "minilm-l6": _BERT,
    "none": Entry("xmodal.bodies.plain:NoneOptions", "xmodal.bodies.plain:NoBody"),
    "one-attention": replace(
        _TRANSFORMER, about="One attention layer with learned positions and layer norms, and no more"
    ),
    "one-block": replace(_TRANSFORMER, about="One block, attention and feed-forward layer, with learned positions"),
    "smollm2-135m": _LLAMA,
    "t5-base": _T5,
    "t5-small": _T5,
    "timm:": _VIT,
    "transformer": _TRANSFORMER,
    "vit-b16": _VIT,
    "vit-s14-saliency": _VIT,
}


def body_options(name: str, **said: Any) -> BodyOptions:
    """The options of a body that no recipe speaks of.

    Raises:
        UsageError: there is no such body, or it does not take what is said.
    """
    from pydantic import ValidationError

    kind = load(find("body", BODIES, name).options)
    try:
        return kind.model_validate({"name": name, **said})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UsageError(f"no body is '{name}'", why=faults, fix="xmodal list bodies shows the names") from None


def build_family(options: BodyOptions) -> Family:
    """The architecture of a body."""
    return build("body", BODIES, options.name, options)


def sites(options: BodyOptions) -> list[Site]:
    """Where the parameters of a body sit. Most bodies need not be built for that, nor torch be loaded."""
    from xmodal.bodies.family import static_sites

    own = build_family(options)
    return static_sites(own) if own.static else [site for site, _ in skeleton(options).claims()]


def skeleton(options: BodyOptions) -> Body:
    """The body without its weights, on the meta device: shapes and claims, no memory and no download."""
    from xmodal.bodies.body import Body

    return Body(build_family(options), options.dropout)
