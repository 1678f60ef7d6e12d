"""Llama and its relatives, as transformers builds them (Touvron 2023; SmolLM2, Allal 2025)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xmodal.bodies import anatomy as shapes
from xmodal.bodies.anatomy import Anatomy
from xmodal.bodies.family import STD, Draw, of_module, residual_scaled
from xmodal.bodies.options import BodyOptions
from xmodal.errors import UsageError
from xmodal.types import Site

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xmodal.tensors import Tokens


class LlamaOptions(BodyOptions):
    """Llama (Touvron 2023): causal, rotary positions, RMS norms before each part, grouped queries, gated feed-forward.

    `smollm2-135m` is SmolLM2 (Allal 2025), 30 blocks of width 576 with 9 query heads and 3 key and value heads.
    """

    name: Literal["smollm2-135m"]
    """Which model."""

    def whole(self) -> Anatomy:
        """As `BodyOptions.whole`."""
        return _MODELS[self.name] if self.path is None else read(Path(self.path))


class Llama:
    """Tokens pass the blocks, which rotate queries and keys by their positions, and leave through the final RMS norm.

    Random: N(0, s), and N(0, s / sqrt(2 * blocks)) for the two matrices of a block that write to the residual stream,
    with s from the configuration: SmolLM2's was trained so (nanotron's standard parametrization, s = 1 / sqrt(width)).
    """

    blocks = "layers"
    prefixes = ("model.", "")
    ignored = ("lm_head.weight", ".rotary_emb.inv_freq")  # output layer, tied or not; fixed frequencies
    renamed = ()
    static = True

    def __init__(self, options: BodyOptions) -> None:
        self.anatomy = options.anatomy()

    def build(self, dropout: float) -> nn.Module:
        """As `Family.build`. Llama drops only attention weights."""
        import torch
        from transformers import LlamaConfig, LlamaModel
        from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

        anatomy, details = self.anatomy, self.anatomy.details
        config = LlamaConfig(
            vocab_size=anatomy.vocabulary,
            hidden_size=anatomy.width,
            intermediate_size=anatomy.inner,
            num_hidden_layers=anatomy.depth,
            num_attention_heads=anatomy.heads,
            num_key_value_heads=details["kv_heads"],
            head_dim=details["head_width"],
            max_position_embeddings=details["trained_context"],
            rms_norm_eps=anatomy.eps,
            rope_parameters={"rope_type": "default", "rope_theta": details["rope_theta"]},
            attention_bias=details["attention_bias"],
            attention_dropout=dropout,
            use_cache=False,
            bos_token_id=None,
            eos_token_id=None,
        )
        with torch.device("meta"):
            model = LlamaModel(config)
        model.rotary_emb = LlamaRotaryEmbedding(config)  # fixed frequencies, which the meta device left without values
        return model

    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter exactly once; `attn` has the parts `q`, `k`, `v` and `out`, `ffn` `gate`, `up` and `down`."""
        biased = self.anatomy.details["attention_bias"]
        yield Site("embed", part="token", used=False), model.embed_tokens.weight
        for layer, block in enumerate(model.layers):
            yield from of_module(Site("ln", layer, "attn"), block.input_layernorm, bias=False)
            yield from of_module(Site("attn", layer, "q"), block.self_attn.q_proj, bias=biased)
            yield from of_module(Site("attn", layer, "k"), block.self_attn.k_proj, bias=biased)
            yield from of_module(Site("attn", layer, "v"), block.self_attn.v_proj, bias=biased)
            yield from of_module(Site("attn", layer, "out"), block.self_attn.o_proj, bias=biased)
            yield from of_module(Site("ln", layer, "ffn"), block.post_attention_layernorm, bias=False)
            yield from of_module(Site("ffn", layer, "gate"), block.mlp.gate_proj, bias=False)
            yield from of_module(Site("ffn", layer, "up"), block.mlp.up_proj, bias=False)
            yield from of_module(Site("ffn", layer, "down"), block.mlp.down_proj, bias=False)
        yield from of_module(Site("ln", part="final"), model.norm, bias=False)

    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        """Hidden states after the final norm; a token sees itself and those before it."""
        mask = tokens.mask if tokens.padded else None
        return model(inputs_embeds=tokens.values, attention_mask=mask, use_cache=False).last_hidden_state

    def draw(self, site: Site, shape: tuple[int, ...]) -> Draw:
        """As `Family.draw`."""
        return residual_scaled(site, self.anatomy.details["std"], len(self.anatomy.layers))


def read(folder: Path) -> Anatomy:
    """The shape that a Llama's `config.json` describes.

    Raises:
        MissingError: there is no `config.json`.
        UsageError: it describes something else.
    """
    config = shapes.read_config(folder, "llama", {"hidden_act": "silu", "mlp_bias": False})
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, dict) else rope
    if kind != "default":
        raise UsageError(
            f"{folder / 'config.json'} describes a variant that xmodal does not build",
            where="body.path",
            why=f"its rotary positions are of the type {kind!r}, not 'default'",
            fix=shapes.OTHER,
        )
    width, heads = shapes.size(config, "hidden_size", 4096), shapes.size(config, "num_attention_heads", 32)
    shapes.heads(config, "num_attention_heads", width)
    kv_heads = shapes.size(config, "num_key_value_heads", heads)
    if heads % kv_heads:
        what = f"config.json says num_key_value_heads: {kv_heads}, and {heads} heads cannot share them evenly"
        raise UsageError(what, where="body.path", fix=shapes.OTHER)
    head_width = shapes.size(config, "head_dim", width // heads)
    if head_width % 2:
        what = f"config.json says heads of width {head_width}, and rotary positions turn pairs"
        raise UsageError(what, where="body.path", fix=shapes.OTHER)
    theta = {"rope_theta": rope.get("rope_theta", config.get("rope_theta"))}
    return Anatomy(
        family="llama",
        width=width,
        heads=heads,
        inner=shapes.size(config, "intermediate_size", 11008),
        depth=shapes.size(config, "num_hidden_layers", 32, shapes.MOST_BLOCKS),
        causal=True,
        vocabulary=shapes.size(config, "vocab_size", 32000),
        eps=shapes.number(config, "rms_norm_eps", 1e-6),
        details={
            "kv_heads": kv_heads,
            "head_width": head_width,
            "trained_context": shapes.size(config, "max_position_embeddings", 2048),
            "rope_theta": shapes.number(theta, "rope_theta", 10_000.0, 1e12),
            "attention_bias": config.get("attention_bias") is True,
            "std": shapes.number(config, "initializer_range", STD),
        },
    )


_MODELS = {
    "smollm2-135m": Anatomy(
        "llama",
        width=576,
        depth=30,
        causal=True,
        heads=9,
        inner=1536,
        vocabulary=49152,
        eps=1e-5,
        details={
            "kv_heads": 3,
            "head_width": 64,
            "trained_context": 8192,
            "rope_theta": 100_000.0,
            "attention_bias": False,
            "std": 576**-0.5,
        },
    )
}
