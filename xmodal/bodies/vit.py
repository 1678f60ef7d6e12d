"""Vision transformers as timm builds them (Dosovitskiy 2020; DeiT, Touvron 2020; DINOv2, Oquab 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from xmodal.bodies import anatomy as shapes
from xmodal.bodies.anatomy import Anatomy
from xmodal.bodies.family import STD, Constant, Draw, Normal, norms_and_biases
from xmodal.bodies.options import BodyOptions
from xmodal.errors import UsageError
from xmodal.sources.official import refuse_unknown
from xmodal.types import Site

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xmodal.tensors import Tokens

TIMM = "timm:"
READERS = ("head.", "fc_norm.", "attn_pool.")
"""What only a classifier reads, or is."""


class VitOptions(BodyOptions):
    """Vision transformer (Dosovitskiy 2020): every token sees every other, a class token in front, learned positions.

    `vit-b16` is ViT-B/16 with the AugReg weights (Steiner 2021) that timm fine-tuned on ImageNet. `vit-s14-saliency`
    is a ViT-S/14 in DINOv2's layout (Oquab 2023), fine-tuned for saliency. `timm:NAME` is any VisionTransformer of
    timm, by the name it has there, with or without the tag of its weights.
    """

    name: Literal["vit-b16", "vit-s14-saliency"] | Annotated[str, Field(pattern="^timm:")]
    """Which model."""

    def whole(self) -> Anatomy:
        """As `BodyOptions.whole`; timm, and so torch, is asked for all but the two that have a name here."""
        if self.path is not None:
            return read(Path(self.path))
        return ask(self.name.removeprefix(TIMM)) if self.name.startswith(TIMM) else _MODELS[self.name]


class Vit:
    """Tokens get the body's positions, its class and register tokens in front, and pass blocks and final norm.

    The patch embedding is claimed and not used: tokens come from the input layer. Positions are resampled to the grid
    of the tokens as timm does it. Tokens without a grid take theirs from a line through the patches in reading order,
    which is stretched to the length of each sample. Tokens in front that the tokenizer made have no position.

    Random: DeiT's scheme (Touvron 2020, section 6, and its code) for every ViT. Matrices, positions, class and register
    tokens are N(0, 0.02), cut a hundred deviations out, which cuts nothing; biases are zero, norms one, LayerScale
    the architecture's own constant (1e-5 for DINOv2). Dosovitskiy 2020 drew Xavier-uniform matrices, deviation 0.036
    at width 768, and zero class tokens; timm's default draws class and register tokens with 1e-6, as DINOv2 did.
    """

    blocks = "blocks"
    prefixes = ("",)
    ignored = READERS
    renamed = ()

    def __init__(self, options: BodyOptions) -> None:
        self.anatomy = options.anatomy()
        self.static = options.name in _MODELS and options.path is None

    def build(self, dropout: float) -> nn.Module:
        """As `Family.build`; `dropout` reaches positions, attention, and what both parts of a block give back."""
        details = self.anatomy.details
        rates = {"pos_drop_rate": dropout, "attn_drop_rate": dropout, "proj_drop_rate": dropout}
        return _headless(details["architecture"], details["arguments"] | rates)

    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter exactly once; `attn` has the parts `qkv` and `out`, `prefix` has `class` and `register`."""
        for name in self.anatomy.details["stem"]:
            yield _STEM[name], _at(model, name)
        for layer, block in enumerate(model.blocks):
            for name in self.anatomy.details["block"]:
                site = replace(_BLOCK[name], layer=layer)
                if name.startswith("mlp.fc1.") and self.anatomy.details["packed"]:
                    site = replace(site, part="gate_up")
                yield site, _at(block, name)

    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        """Hidden states after the final norm, the body's own tokens in front; a token sees every real token."""
        import torch

        values, own = tokens.values, self.anatomy.prefix
        front = [token.expand(len(values), -1, -1) for token in (model.cls_token, model.reg_token) if token is not None]
        if model.pos_embed is not None:
            covered = 0 if model.no_embed_class else own
            of_front, of_patches = model.pos_embed[:, :covered], model.pos_embed[:, covered:]
            if covered:
                front = [torch.cat(front, dim=1) + of_front]
            places = self.positions(of_patches, tokens)
            values = torch.cat([values[:, : tokens.prefix], values[:, tokens.prefix :] + places], dim=1)
        hidden = model.norm_pre(model.pos_drop(torch.cat([*front, values], dim=1)))
        mask = None
        if tokens.padded:
            mask = torch.nn.functional.pad(tokens.mask, (own, 0), value=True)[:, None, None, :]
        for block in model.blocks:
            hidden = block(hidden, attn_mask=mask)
        return model.norm(hidden)

    def positions(self, learned: Tensor, tokens: Tokens) -> Tensor:
        """The positions of the tokens that hold data, `[batch or 1, tokens, width]`, from those of the patches."""
        details = self.anatomy.details
        if tokens.grid is None:
            lengths = tokens.mask[:, tokens.prefix :].sum(dim=1) if tokens.padded else None
            return stretched(learned[0], tokens.values.shape[1] - tokens.prefix, lengths)
        from timm.layers.pos_embed import resample_abs_pos_embed

        return resample_abs_pos_embed(
            learned,
            new_size=list(tokens.grid),
            old_size=list(details["grid"]),
            num_prefix_tokens=0,
            antialias=details["antialias"],
        )

    def draw(self, site: Site, shape: tuple[int, ...]) -> Draw:
        """As `Family.draw`."""
        if site.role == "scale":
            return Constant(self.anatomy.details["layer_scale"])
        return norms_and_biases(site) or Normal(STD)


def stretched(line: Tensor, count: int, lengths: Tensor | None) -> Tensor:
    """`count` places on a line of learned positions, linearly between its neighbours.

    Each sample's real tokens share the whole line evenly, as `torch.nn.functional.interpolate` spaces them, so that
    padding moves nothing.

    Args:
        line: `[learned, width]`.
        count: tokens.
        lengths: real tokens of each sample, `[batch]`; None when all `count` are real in every sample.

    Returns:
        `[batch, count, width]`, with a batch of 1 when `lengths` is None.
    """
    import torch

    if lengths is None:
        lengths = torch.tensor([count], device=line.device)
    tokens = torch.arange(count, device=line.device)
    place = (tokens + 0.5) * len(line) / lengths.clamp(min=1)[:, None] - 0.5
    place = place.clamp(0, len(line) - 1)
    left = place.floor().long()
    right = (left + 1).clamp(max=len(line) - 1)
    return torch.lerp(line[left], line[right], (place - left)[..., None].to(line.dtype))


def read(folder: Path) -> Anatomy:
    """The shape that a `config.json` in timm's layout describes: `architecture` and, where needed, `model_args`.

    Raises:
        MissingError: there is no `config.json`.
        UsageError: it describes something else.
    """
    config = shapes.read_object(folder / "config.json")
    architecture, said = config.get("architecture"), config.get("model_args") or {}
    if not isinstance(architecture, str):
        raise UsageError(
            f"{folder / 'config.json'} names no architecture of timm",
            where="body.path",
            fix="give a folder as timm saves it, or name a body of another kind",
        )
    known = (*_SIZES, *_FLAGS, "global_pool", "init_values")
    if isinstance(said, dict):
        said = {key: _square(value) for key, value in said.items() if key != "num_classes"}
    unknown = [key for key in said if key not in known] if isinstance(said, dict) else ["model_args"]
    unknown += [key for key in _FLAGS if not unknown and not isinstance(said.get(key, True), bool)]
    unknown += ["global_pool"] if not unknown and said.get("global_pool", "") not in _POOLS else []
    if unknown:
        ask(architecture)  # that xmodal has no family for it is the better reason
        raise UsageError(
            f"{folder / 'config.json'} describes a variant that xmodal does not build",
            where="body.path",
            why=f"{', '.join(unknown)} cannot be so; what can be set is {', '.join(known)}",
            fix="take a model without it, or add an adapter: docs/how-to/add-a-body.md",
        )
    arguments: dict[str, Any] = {key: shapes.size(said, key, 1, _SIZES[key]) for key in said if key in _SIZES}
    arguments |= {key: said[key] for key in said if key in (*_FLAGS, "global_pool")}
    if "init_values" in said:
        arguments["init_values"] = shapes.number(said, "init_values", 1e-5)
    return ask(architecture, tuple(arguments.items()), antialias=config.get("antialias") is not False)


@cache
def ask(name: str, arguments: tuple[tuple[str, Any], ...] = (), *, antialias: bool = True) -> Anatomy:
    """The shape of a VisionTransformer of timm.

    Args:
        name: as timm knows it, with or without the tag of its weights.
        arguments: what is built in another way than that name says.
        antialias: whether positions are smoothed when they are resampled to a smaller grid.

    Raises:
        UsageError: timm has no such model, it is no VisionTransformer, or it has parameters that nobody claims.
    """
    from timm.models.vision_transformer import VisionTransformer

    refuse_unknown(name, "body.name")
    try:
        model: Any = _headless(name, dict(arguments))
    except Exception as error:  # whatever a model does that was not made for the meta device or these arguments
        why = f"{type(error).__name__}: {error}"
        raise UsageError(f"timm cannot build {name}", where="body.name", why=why, fix=shapes.NO_FAMILY) from None
    if type(model) is not VisionTransformer:
        what = f"{name} is a {type(model).__name__}, not a VisionTransformer"
        why = (
            f"timm: takes plain VisionTransformers only; nobody claims {_few([n for n, _ in model.named_parameters()])}"
        )
        raise UsageError(what, where="body.name", why=why, fix=shapes.NO_FAMILY)
    stem, block, packed, spare = layout(model)
    if spare:
        what, why = f"nobody claims {_few(spare)} of {name}", "xmodal does not know what these parameters are"
        raise UsageError(what, where="body.name", why=why, fix=shapes.NO_FAMILY)
    first: Any = model.blocks[0]
    return Anatomy(
        family="vit",
        width=model.embed_dim,
        depth=len(model.blocks),
        causal=False,
        heads=first.attn.num_heads,
        inner=first.mlp.fc2.in_features,
        eps=first.norm1.eps,
        prefix=model.num_prefix_tokens,
        details={
            "architecture": name,
            "arguments": dict(arguments),
            "grid": tuple(model.patch_embed.grid_size),
            "stem": stem,
            "block": block,
            "packed": packed,
            "layer_scale": getattr(getattr(first, "ls1", None), "init_values", 0.0),
            "antialias": antialias,
        },
    )


def layout(model: Any) -> tuple[tuple[str, ...], tuple[str, ...], bool, list[str]]:
    """What a VisionTransformer has: names outside the blocks, names in a block, whether gate and values share a matrix.

    Last come the names of the parameters that nobody claims.
    """
    names = [name for name, _ in model.named_parameters()]
    stem = tuple(name for name in _STEM if name in names)
    block = tuple(name for name in _BLOCK if f"blocks.0.{name}" in names)
    claimed = {*stem, *(f"blocks.{layer}.{name}" for layer in range(len(model.blocks)) for name in block)}
    packed = type(getattr(model.blocks[0], "mlp", None)).__name__ == "GluMlp"
    return stem, block, packed, [name for name in names if name not in claimed]


def _headless(name: str, arguments: Mapping[str, Any]) -> Any:
    """The model on the meta device, without what only its classifier reads."""
    import timm
    import torch

    with torch.device("meta"):
        model: Any = timm.create_model(name, pretrained=False, num_classes=0, **arguments)
    for part in ("fc_norm", "attn_pool"):
        if getattr(model, part, None) is not None:
            setattr(model, part, torch.nn.Identity())
    return model


def _at(owner: Any, name: str) -> Any:
    return reduce(getattr, name.split("."), owner)


def _weight_and_bias(module: str, site: Site) -> dict[str, Site]:
    return {f"{module}.weight": site, f"{module}.bias": replace(site, kind="bias")}


_SIZES = {
    "depth": shapes.MOST_BLOCKS,
    "embed_dim": 100_000,
    "img_size": 100_000,
    "in_chans": 10_000,
    "num_heads": 10_000,
    "patch_size": 10_000,
    "reg_tokens": 10_000,
}
_FLAGS = ("no_embed_class", "pre_norm", "qk_norm")
_POOLS = ("", "avg", "avgmax", "max", "map", "token")
"""How timm makes one vector of an image; which norms a model has depends on it."""


def _square(value: Any) -> Any:
    """The side, of sizes that timm writes as a height and a width."""
    return value[0] if isinstance(value, list) and len(value) == 2 and value[0] == value[1] else value


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


_STEM = {
    "cls_token": Site("prefix", part="class"),
    "reg_token": Site("prefix", part="register"),
    "pos_embed": Site("pos"),
    **_weight_and_bias("patch_embed.proj", Site("embed", part="patch", used=False)),
    **_weight_and_bias("patch_embed.norm", Site("embed", part="patch_norm", used=False)),
    **_weight_and_bias("norm_pre", Site("ln", part="embed")),
    **_weight_and_bias("norm", Site("ln", part="final")),
}
_BLOCK = {
    **_weight_and_bias("norm1", Site("ln", part="attn")),
    **_weight_and_bias("attn.qkv", Site("attn", part="qkv")),
    **_weight_and_bias("attn.q_norm", Site("ln", part="q")),
    **_weight_and_bias("attn.k_norm", Site("ln", part="k")),
    **_weight_and_bias("attn.proj", Site("attn", part="out")),
    "ls1.gamma": Site("scale", part="attn"),
    **_weight_and_bias("norm2", Site("ln", part="ffn")),
    **_weight_and_bias("mlp.fc1", Site("ffn", part="up")),
    **_weight_and_bias("mlp.fc1_g", Site("ffn", part="gate")),
    **_weight_and_bias("mlp.fc1_x", Site("ffn", part="up")),
    **_weight_and_bias("mlp.fc2", Site("ffn", part="down")),
    "ls2.gamma": Site("scale", part="ffn"),
}
_OPTIONAL = ("reg_token", "patch_embed.norm.", "norm_pre.", "attn.q_norm.", "attn.k_norm.", "mlp.fc1_g.", "mlp.fc1_x.")


def _plain(names: Mapping[str, Site], *without: str) -> tuple[str, ...]:
    return tuple(name for name in names if not name.startswith((*_OPTIONAL, *without)))


def _model(architecture: str, width: int, heads: int, side: int, layer_scale: float, antialias: bool) -> Anatomy:
    details = {
        "architecture": architecture,
        "arguments": {},
        "grid": (side, side),
        "stem": _plain(_STEM),
        "block": _plain(_BLOCK) if layer_scale else _plain(_BLOCK, "ls1.", "ls2."),
        "packed": False,
        "layer_scale": layer_scale,
        "antialias": antialias,
    }
    return Anatomy("vit", width, 12, False, None, heads, 4 * width, 0, 1e-6, prefix=1, details=details)


# DINOv2 resampled positions without smoothing, and so does the graph that holds vit-s14-saliency.
_MODELS = {
    "vit-b16": _model("vit_base_patch16_224", 768, 12, 14, 0.0, True),
    "vit-s14-saliency": _model("vit_small_patch14_dinov2", 384, 6, 37, 1e-5, False),
}
