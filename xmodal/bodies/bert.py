"""BERT and its relatives with learned positions, as transformers builds them (Devlin 2018; MiniLM, Wang 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from xmodal.bodies.adapter import of_module
from xmodal.bodies.options import Anatomy
from xmodal.tensors import Tokens
from xmodal.types import Site


class Bert(nn.Module):
    """Tokens get the body's own positions and token type 0, a layer norm, and pass the blocks. There is no pooler.

    Built on the meta device; `weights.fill` gives it values. The token embedding is claimed and never held: tokens come
    from the input layer.
    """

    prefixes = ("bert.", "")
    """What a checkpoint's tensor names may start with."""
    ignored = ("pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids", "cls.")
    """Names, or starts or ends of names, that a checkpoint may hold and this body does not use."""

    def __init__(self, anatomy: Anatomy, dropout: float) -> None:
        super().__init__()
        self.anatomy = anatomy
        self.width, self.context, self.causal = anatomy.width, anatomy.context, False
        config = BertConfig(
            vocab_size=anatomy.vocabulary,
            max_position_embeddings=anatomy.context,
            type_vocab_size=anatomy.types,
            hidden_size=anatomy.width,
            num_hidden_layers=anatomy.depth,
            num_attention_heads=anatomy.heads,
            intermediate_size=anatomy.inner,
            layer_norm_eps=anatomy.eps,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        with torch.device("meta"):
            self.model: Any = BertModel(config, add_pooling_layer=False)
        self.source_names = {parameter: name for name, parameter in self.model.named_parameters()}
        self.model.encoder.layer = nn.ModuleList(self.model.encoder.layer[layer] for layer in anatomy.layers)
        # Fixed index buffers, which the meta device left without values.
        embeddings = self.model.embeddings
        embeddings.position_ids = torch.arange(anatomy.context)[None]
        embeddings.token_type_ids = torch.zeros(1, anatomy.context, dtype=torch.long)

    def claims(self) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter exactly once; `attn` has the parts `q`, `k`, `v` and `out`."""
        embeddings = self.model.embeddings
        yield Site("embed", part="token", used=False), embeddings.word_embeddings.weight
        yield Site("pos"), embeddings.position_embeddings.weight
        yield Site("embed", part="type"), embeddings.token_type_embeddings.weight
        yield from of_module(Site("ln", part="embed"), embeddings.LayerNorm)
        for layer, block in enumerate(self.model.encoder.layer):
            yield from of_module(Site("attn", layer, "q"), block.attention.self.query)
            yield from of_module(Site("attn", layer, "k"), block.attention.self.key)
            yield from of_module(Site("attn", layer, "v"), block.attention.self.value)
            yield from of_module(Site("attn", layer, "out"), block.attention.output.dense)
            yield from of_module(Site("ln", layer, "attn"), block.attention.output.LayerNorm)
            yield from of_module(Site("ffn", layer, "up"), block.intermediate.dense)
            yield from of_module(Site("ffn", layer, "down"), block.output.dense)
            yield from of_module(Site("ln", layer, "ffn"), block.output.LayerNorm)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch tokens width"]:
        """Hidden states after the last block; a token sees every real token."""
        mask = tokens.mask if tokens.padded else None
        return self.model(inputs_embeds=tokens.values, attention_mask=mask).last_hidden_state
