"""The encoder of T5, as transformers builds it (Raffel 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xmodal.bodies import anatomy as shapes
from xmodal.bodies.anatomy import Anatomy
from xmodal.bodies.family import Draw, Normal, norms_and_biases, of_module
from xmodal.bodies.options import BodyOptions
from xmodal.errors import UsageError
from xmodal.types import Site

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xmodal.tensors import Tokens

_ACTIVATIONS = {"relu": False, "gated-gelu": True}


class T5Options(BodyOptions):
    """The encoder of T5 (Raffel 2020): every token sees every other, relative positions, RMS norms before each part."""

    name: Literal["t5-base", "t5-small"]
    """Which size."""

    def whole(self) -> Anatomy:
        """As `BodyOptions.whole`."""
        return _MODELS[self.name] if self.path is None else read(Path(self.path))


class T5:
    """Tokens pass the blocks, whose attention is unscaled and adds a learned bias for each distance, and a final norm.

    The biases live in the first block and serve all, so that block cannot be left out.

    Random: as the paper's code draws it. Queries N(0, 1 / sqrt(width * head width)), keys, values, relative biases and
    the first feed-forward matrix N(0, 1 / sqrt(width)), what writes to the residual stream N(0, 1 / sqrt(its inputs)),
    embeddings N(0, 1).
    """

    blocks = "encoder.block"
    prefixes = ("",)
    ignored = ("decoder.", "lm_head.weight", "encoder.embed_tokens.weight")
    renamed = ()
    static = True

    def __init__(self, options: BodyOptions) -> None:
        self.anatomy = options.anatomy()
        if self.anatomy.layers[0] != 0:
            raise UsageError(
                f"{options.name} cannot do without its first block",
                where="body.layers",
                why="the relative position biases of all blocks live in it",
                fix='keep block 0: "0:3", "::2"',
            )

    def build(self, dropout: float) -> nn.Module:
        """As `Family.build`."""
        import torch
        from transformers import T5Config, T5EncoderModel

        anatomy, details = self.anatomy, self.anatomy.details
        config = T5Config(
            vocab_size=anatomy.vocabulary,
            d_model=anatomy.width,
            d_kv=details["head_width"],
            d_ff=anatomy.inner,
            num_layers=anatomy.depth,
            num_heads=anatomy.heads,
            relative_attention_num_buckets=details["buckets"],
            relative_attention_max_distance=details["distance"],
            layer_norm_epsilon=anatomy.eps,
            feed_forward_proj=details["activation"],
            dropout_rate=dropout,
            use_cache=False,
        )
        with torch.device("meta"):
            return T5EncoderModel(config)

    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter exactly once; `attn` has the parts `q`, `k`, `v` and `out`; relative biases are `relpos`."""
        gated = _ACTIVATIONS[self.anatomy.details["activation"]]
        encoder = model.encoder
        yield Site("embed", part="token", used=False), model.shared.weight
        for layer, block in enumerate(encoder.block):
            attention, feed = block.layer[0], block.layer[1]
            for part, linear in zip("qkv", ("q", "k", "v"), strict=True):
                yield from of_module(Site("attn", layer, part), getattr(attention.SelfAttention, linear), bias=False)
            yield from of_module(Site("attn", layer, "out"), attention.SelfAttention.o, bias=False)
            if layer == 0:
                yield Site("relpos"), attention.SelfAttention.relative_attention_bias.weight
            yield from of_module(Site("ln", layer, "attn"), attention.layer_norm, bias=False)
            if gated:
                yield from of_module(Site("ffn", layer, "gate"), feed.DenseReluDense.wi_0, bias=False)
                yield from of_module(Site("ffn", layer, "up"), feed.DenseReluDense.wi_1, bias=False)
            else:
                yield from of_module(Site("ffn", layer, "up"), feed.DenseReluDense.wi, bias=False)
            yield from of_module(Site("ffn", layer, "down"), feed.DenseReluDense.wo, bias=False)
            yield from of_module(Site("ln", layer, "ffn"), feed.layer_norm, bias=False)
        yield from of_module(Site("ln", part="final"), encoder.final_layer_norm, bias=False)

    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        """Hidden states after the final norm; a token sees every real token."""
        mask = tokens.mask if tokens.padded else None
        return model(inputs_embeds=tokens.values, attention_mask=mask).last_hidden_state

    def draw(self, site: Site, shape: tuple[int, ...]) -> Draw:
        """As `Family.draw`."""
        anatomy = self.anatomy
        head_width = anatomy.details["head_width"]
        inputs = {
            ("attn", "q"): anatomy.width * head_width,
            ("attn", "out"): anatomy.heads * head_width,
            ("ffn", "down"): anatomy.inner,
            ("embed", "token"): 1,
        }.get((site.role, site.part), anatomy.width)
        return norms_and_biases(site) or Normal(inputs**-0.5)


_RENAMED = {
    "hidden_size": "d_model",
    "num_attention_heads": "num_heads",
    "num_hidden_layers": "num_layers",
    "head_dim": "d_kv",
}


def read(folder: Path) -> Anatomy:
    """The shape of the encoder that a T5's `config.json` describes.

    Raises:
        MissingError: there is no `config.json`.
        UsageError: it describes something else.
    """
    config = shapes.read_config(folder, "t5", {"initializer_factor": 1.0}, _RENAMED)
    activation = config.get("feed_forward_proj", "relu")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise UsageError(
            f"{folder / 'config.json'} describes a variant that xmodal does not build",
            where="body.path",
            why=f"feed_forward_proj is {activation!r}, not one of {', '.join(_ACTIVATIONS)}",
            fix=shapes.OTHER,
        )
    return Anatomy(
        family="t5",
        width=shapes.size(config, "d_model", 512),
        heads=shapes.size(config, "num_heads", 8),
        inner=shapes.size(config, "d_ff", 2048),
        depth=shapes.size(config, "num_layers", 6, shapes.MOST_BLOCKS),
        causal=False,
        vocabulary=shapes.size(config, "vocab_size", 32128),
        eps=shapes.number(config, "layer_norm_epsilon", 1e-6),
        details={
            "head_width": shapes.size(config, "d_kv", 64),
            "buckets": shapes.size(config, "relative_attention_num_buckets", 32),
            "distance": shapes.size(config, "relative_attention_max_distance", 128),
            "activation": activation,
        },
    )


def _model(width: int, heads: int, inner: int, depth: int) -> Anatomy:
    details = {"head_width": 64, "buckets": 32, "distance": 128, "activation": "relu"}
    return Anatomy("t5", width, depth, False, None, heads, inner, 32128, 1e-6, details=details)


_MODELS = {
    "t5-base": _model(768, 12, 3072, 12),
    "t5-small": _model(512, 8, 2048, 6),
}
