"""GPT-2, as transformers builds it (Radford 2019; the body of Lu 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model

from xmodal.bodies.adapter import of_module
from xmodal.bodies.options import Anatomy
from xmodal.tensors import Tokens
from xmodal.types import Site


class GPT2(nn.Module):
    """Tokens get the body's own positions, pass the blocks, and leave through the final layer norm.

    Built on the meta device; `weights.fill` gives it values. The token embedding is claimed and never held: tokens come
    from the input layer.
    """

    prefixes = ("transformer.", "")
    """What a checkpoint's tensor names may start with."""
    ignored = ("lm_head.weight", ".attn.bias", ".attn.masked_bias")
    """Ends of tensor names that a checkpoint may hold and this body does not use: tied output layer, causal masks."""

    def __init__(self, anatomy: Anatomy, dropout: float) -> None:
        super().__init__()
        self.anatomy = anatomy
        self.width, self.context, self.causal = anatomy.width, anatomy.context, True
        config = GPT2Config(
            vocab_size=anatomy.vocabulary,
            n_positions=anatomy.context,
            n_embd=anatomy.width,
            n_layer=anatomy.depth,
            n_head=anatomy.heads,
            n_inner=anatomy.inner,
            layer_norm_epsilon=anatomy.eps,
            resid_pdrop=dropout,
            embd_pdrop=dropout,
            attn_pdrop=dropout,
            use_cache=False,
        )
        with torch.device("meta"):
            self.model: Any = GPT2Model(config)
        self.source_names = {parameter: name for name, parameter in self.model.named_parameters()}
        self.model.h = nn.ModuleList(self.model.h[layer] for layer in anatomy.layers)

    def claims(self) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter exactly once; `attn` has the parts `qkv` and `out`."""
        model = self.model
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

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch tokens width"]:
        """Hidden states after the final layer norm; a token sees itself and those before it."""
        mask = tokens.mask if tokens.padded else None
        return self.model(inputs_embeds=tokens.values, attention_mask=mask, use_cache=False).last_hidden_state
