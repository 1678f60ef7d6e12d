"""Longformer, which attends within a window, as transformers builds it (Beltagy 2020)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xmodal.bodies import anatomy as shapes
from xmodal.bodies.anatomy import Anatomy
from xmodal.bodies.family import STD, Draw, Normal, norms_and_biases, of_module
from xmodal.bodies.options import BodyOptions
from xmodal.errors import UsageError
from xmodal.types import Site

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xmodal.tensors import Tokens

PAD, OFFSET = 1, 2
"""RoBERTa's: the row of the position table that padding takes, and the row of the first token."""


class LongformerOptions(BodyOptions):
    """Longformer (Beltagy 2020): a token sees a window around it, learned positions, layer norm after each part.

    It went on from RoBERTa (Liu 2019), 12 blocks of width 768; the window is 512 tokens, half of them on each side.
    """

    name: Literal["longformer-base"]
    """Which model."""

    def whole(self) -> Anatomy:
        """As `BodyOptions.whole`."""
        return _MODELS[self.name] if self.path is None else read(Path(self.path))


class Longformer:
    """Tokens get the body's own positions and token type 0, a layer norm, and pass the blocks. There is no pooler.

    Attention is local: no token is global. That is what LongformerModel does unless it is told which tokens are, and
    Lu 2021's code, which has no Longformer of its own, tells its bodies nothing but the tokens. The second set of
    queries, keys and values (`attn.q_global`, `k_global`, `v_global`) serves global tokens alone, so no sample
    passes it here, and it is claimed as unused.

    Random: N(0, 0.02), not cut, RoBERTa's (fairseq's `init_bert_params`), which is also what transformers draws.
    """

    blocks = "encoder.layer"
    prefixes = ("longformer.", "")
    ignored = ("pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids", "lm_head.")
    renamed = ()
    static = True

    def __init__(self, options: BodyOptions) -> None:
        self.anatomy = options.anatomy()

    def build(self, dropout: float) -> nn.Module:
        """As `Family.build`."""
        import torch
        from transformers import LongformerConfig, LongformerModel

        anatomy = self.anatomy
        config = LongformerConfig(
            attention_window=anatomy.details["window"],
            pad_token_id=PAD,
            vocab_size=anatomy.vocabulary,
            max_position_embeddings=OFFSET + (anatomy.context or 0),
            type_vocab_size=anatomy.details["types"],
            hidden_size=anatomy.width,
            num_hidden_layers=anatomy.depth,
            num_attention_heads=anatomy.heads,
            intermediate_size=anatomy.inner,
            layer_norm_eps=anatomy.eps,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        with torch.device("meta"):
            return LongformerModel(config, add_pooling_layer=False)

    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter exactly once; `attn` has the parts `q`, `k`, `v` and `out`, and three that are unused."""
        embeddings = model.embeddings
        yield Site("embed", part="token", used=False), embeddings.word_embeddings.weight
        yield Site("pos"), embeddings.position_embeddings.weight
        yield Site("embed", part="type"), embeddings.token_type_embeddings.weight
        yield from of_module(Site("ln", part="embed"), embeddings.LayerNorm)
        for layer, block in enumerate(model.encoder.layer):
            attention = block.attention.self
            yield from of_module(Site("attn", layer, "q"), attention.query)
            yield from of_module(Site("attn", layer, "k"), attention.key)
            yield from of_module(Site("attn", layer, "v"), attention.value)
            yield from of_module(Site("attn", layer, "q_global", used=False), attention.query_global)
            yield from of_module(Site("attn", layer, "k_global", used=False), attention.key_global)
            yield from of_module(Site("attn", layer, "v_global", used=False), attention.value_global)
            yield from of_module(Site("attn", layer, "out"), block.attention.output.dense)
            yield from of_module(Site("ln", layer, "attn"), block.attention.output.LayerNorm)
            yield from of_module(Site("ffn", layer, "up"), block.intermediate.dense)
            yield from of_module(Site("ffn", layer, "down"), block.output.dense)
            yield from of_module(Site("ln", layer, "ffn"), block.output.LayerNorm)

    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        """Hidden states after the last block; a token sees the real tokens within half a window of it.

        The model computes in whole windows. It would fill up the last one from its token embedding, which is not held
        here, so zeros that nothing sees are appended first, and cut off again.
        """
        import torch
        from torch.nn.functional import pad

        values, length = tokens.values, tokens.values.shape[1]
        spare = -length % self.anatomy.details["window"]
        positions = torch.arange(OFFSET, OFFSET + length, device=values.device)
        hidden = model(
            inputs_embeds=pad(values, (0, 0, 0, spare)),
            attention_mask=pad(tokens.mask.long(), (0, spare)),
            position_ids=pad(positions, (0, spare), value=PAD).expand(len(values), -1),
        ).last_hidden_state
        return hidden[:, :length]

    def draw(self, site: Site, shape: tuple[int, ...]) -> Draw:
        """As `Family.draw`."""
        return norms_and_biases(site) or Normal(STD)


def read(folder: Path) -> Anatomy:
    """The shape that a Longformer's `config.json` describes.

    Raises:
        MissingError: there is no `config.json`.
        UsageError: it describes something else.
    """
    config = shapes.read_config(folder, "longformer", {"hidden_act": "gelu", "pad_token_id": PAD})
    width = shapes.size(config, "hidden_size", 768)
    rows = shapes.size(config, "max_position_embeddings", 512)
    if rows <= OFFSET:
        raise UsageError(
            f"{folder / 'config.json'} leaves no token a position",
            where="body.path",
            why=f"max_position_embeddings is {rows}, and the first token takes row {OFFSET}",
            fix=shapes.OTHER,
        )
    return Anatomy(
        family="longformer",
        width=width,
        heads=shapes.heads(config, "num_attention_heads", width),
        inner=shapes.size(config, "intermediate_size", 3072),
        depth=shapes.size(config, "num_hidden_layers", 12, shapes.MOST_BLOCKS),
        causal=False,
        context=rows - OFFSET,
        vocabulary=shapes.size(config, "vocab_size", 30522),
        eps=shapes.number(config, "layer_norm_eps", 1e-12),
        details={"types": shapes.size(config, "type_vocab_size", 2), "window": _window(config, folder)},
    )


def _window(config: Mapping[str, Any], folder: Path) -> int:
    """How many tokens around a token it sees, the same in each block."""
    said = config.get("attention_window")
    windows = said if isinstance(said, list) else [said]
    window = shapes.size({"attention_window": windows[0] if windows else 0}, "attention_window", 512)
    if window % 2 or any(other != windows[0] for other in windows):
        raise UsageError(
            f"{folder / 'config.json'} describes a variant that xmodal does not build",
            where="body.path",
            why=f"attention_window is {said!r}, not one even number or the same in each block",
            fix=shapes.OTHER,
        )
    return window


_MODELS = {
    "longformer-base": Anatomy(
        "longformer",
        width=768,
        depth=12,
        causal=False,
        context=4096,
        heads=12,
        inner=3072,
        vocabulary=50265,
        eps=1e-5,
        details={"types": 1, "window": 512},
    )
}
