"""GPT-2, as transformers builds it (Radford 2019; the body of Lu 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xmodal.bodies import anatomy as shapes
from xmodal.bodies.anatomy import Anatomy
from xmodal.bodies.family import STD, Draw, of_module, residual_scaled
from xmodal.bodies.options import BodyOptions
from xmodal.types import Site

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xmodal.tensors import Tokens


class GPT2Options(BodyOptions):
    """GPT-2 (Radford 2019): causal, learned positions, layer norm before each part, query, key and value fused."""

    inits = (*BodyOptions.inits, "random:scaled")

    name: Literal["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"]
    """Which size."""

    def whole(self) -> Anatomy:
        """As `BodyOptions.whole`."""
        return _SIZES[self.name] if self.path is None else read(Path(self.path))


class GPT2:
    """Tokens get the body's own positions, pass the blocks, and leave through the final layer norm.

    Random: N(0, 0.02), and N(0, 0.02 / sqrt(2 * blocks)) for the two matrices of a block that write to the residual
    stream (Radford 2019, section 2.3).
    """

    blocks = "h"
    prefixes = ("transformer.", "")
    ignored = ("lm_head.weight", ".attn.bias", ".attn.masked_bias")  # tied output layer, causal masks
    renamed = ()
    static = True

    def __init__(self, options: BodyOptions) -> None:
        self.anatomy = options.anatomy()

    def build(self, dropout: float) -> nn.Module:
        """As `Family.build`."""
        import torch
        from transformers import GPT2Config, GPT2Model

        anatomy = self.anatomy
        config = GPT2Config(
            vocab_size=anatomy.vocabulary,
            n_positions=anatomy.context or 0,
            n_embd=anatomy.width,
            n_layer=anatomy.depth,
            n_head=anatomy.heads,
            n_inner=anatomy.inner,
            layer_norm_epsilon=anatomy.eps,
            resid_pdrop=dropout,
            embd_pdrop=dropout,
            attn_pdrop=dropout,
            use_cache=False,
            bos_token_id=None,
            eos_token_id=None,
        )
        with torch.device("meta"):
            return GPT2Model(config)

    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter exactly once; `attn` has the parts `qkv` and `out`."""
        yield Site("embed", part="token", used=False), model.wte.weight
        yield Site("pos"), model.wpe.weight
        for layer, block in enumerate(model.h):
            yield from of_module(Site("ln", layer, "attn"), block.ln_1)
            yield from of_module(Site("attn", layer, "qkv"), block.attn.c_attn)
            yield from of_module(Site("attn", layer, "out"), block.attn.c_proj)
            yield from of_module(Site("ln", layer, "ffn"), block.ln_2)
            yield from of_module(Site("ffn", layer, "up"), block.mlp.c_fc)
            yield from of_module(Site("ffn", layer, "down"), block.mlp.c_proj)
        yield from of_module(Site("ln", part="final"), model.ln_f)

    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        """Hidden states after the final layer norm; a token sees itself and those before it."""
        mask = tokens.mask if tokens.padded else None
        return model(inputs_embeds=tokens.values, attention_mask=mask, use_cache=False).last_hidden_state

    def draw(self, site: Site, shape: tuple[int, ...]) -> Draw:
        """As `Family.draw`."""
        return residual_scaled(site, STD, len(self.anatomy.layers))


_RENAMED = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}


def read(folder: Path) -> Anatomy:
    """The shape that a GPT-2's `config.json` describes.

    Raises:
        MissingError: there is no `config.json`.
        UsageError: it describes something else.
    """
    fixed = {"activation_function": "gelu_new", "scale_attn_weights": True, "add_cross_attention": False}
    fixed |= {"scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False}
    config = shapes.read_config(folder, "gpt2", fixed, _RENAMED)
    width = shapes.size(config, "n_embd", 768)
    return Anatomy(
        family="gpt2",
        width=width,
        heads=shapes.heads(config, "n_head", width),
        inner=shapes.size(config, "n_inner", 4 * width),
        depth=shapes.size(config, "n_layer", 12, shapes.MOST_BLOCKS),
        causal=True,
        context=shapes.size(config, "n_positions", 1024),
        vocabulary=shapes.size(config, "vocab_size", 50257),
        eps=shapes.number(config, "layer_norm_epsilon", 1e-5),
    )


def _size(width: int, heads: int, depth: int) -> Anatomy:
    return Anatomy("gpt2", width, depth, True, 1024, heads, 4 * width, 50257, 1e-5)


_SIZES = {
    "gpt2": _size(768, 12, 12),
    "gpt2-medium": _size(1024, 16, 24),
    "gpt2-large": _size(1280, 20, 36),
    "gpt2-xl": _size(1600, 25, 48),
}
