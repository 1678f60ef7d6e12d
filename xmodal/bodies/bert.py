"""BERT and its relatives with learned positions, as transformers builds them (Devlin 2018; MiniLM, Wang 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xmodal.bodies import anatomy as shapes
from xmodal.bodies.anatomy import Anatomy
from xmodal.bodies.family import STD, Draw, Normal, norms_and_biases, of_module
from xmodal.bodies.options import BodyOptions
from xmodal.types import Site

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xmodal.tensors import Tokens


class BertOptions(BodyOptions):
    """BERT (Devlin 2018): every token sees every other, learned positions, layer norm after each part.

    `minilm-l6` is MiniLM (Wang 2020), 6 blocks of width 384, after a fine-tune for sentence embeddings. `antiberty`
    (Ruffolo 2021) learned the language of antibodies, 8 blocks of width 512. `bert-base` is the uncased original.
    """

    name: Literal["antiberty", "bert-base", "minilm-l6"]
    """Which model."""

    def whole(self) -> Anatomy:
        """As `BodyOptions.whole`."""
        return _MODELS[self.name] if self.path is None else read(Path(self.path))


class Bert:
    """Tokens get the body's own positions and token type 0, a layer norm, and pass the blocks. There is no pooler.

    Random: N(0, 0.02) cut at two deviations (Devlin's code, `truncated_normal_initializer`), which leaves 0.0176.
    """

    blocks = "encoder.layer"
    prefixes = ("bert.", "")
    ignored = ("pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids", "cls.")
    renamed = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
    static = True

    def __init__(self, options: BodyOptions) -> None:
        self.anatomy = options.anatomy()

    def build(self, dropout: float) -> nn.Module:
        """As `Family.build`."""
        import torch
        from transformers import BertConfig, BertModel

        anatomy = self.anatomy
        context = anatomy.context or 0
        config = BertConfig(
            vocab_size=anatomy.vocabulary,
            max_position_embeddings=context,
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
            model: Any = BertModel(config, add_pooling_layer=False)
        # Fixed index buffers, which the meta device left without values.
        model.embeddings.position_ids = torch.arange(context)[None]
        model.embeddings.token_type_ids = torch.zeros(1, context, dtype=torch.long)
        return model

    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter exactly once; `attn` has the parts `q`, `k`, `v` and `out`."""
        embeddings = model.embeddings
        yield Site("embed", part="token", used=False), embeddings.word_embeddings.weight
        yield Site("pos"), embeddings.position_embeddings.weight
        yield Site("embed", part="type"), embeddings.token_type_embeddings.weight
        yield from of_module(Site("ln", part="embed"), embeddings.LayerNorm)
        for layer, block in enumerate(model.encoder.layer):
            yield from of_module(Site("attn", layer, "q"), block.attention.self.query)
            yield from of_module(Site("attn", layer, "k"), block.attention.self.key)
            yield from of_module(Site("attn", layer, "v"), block.attention.self.value)
            yield from of_module(Site("attn", layer, "out"), block.attention.output.dense)
            yield from of_module(Site("ln", layer, "attn"), block.attention.output.LayerNorm)
            yield from of_module(Site("ffn", layer, "up"), block.intermediate.dense)
            yield from of_module(Site("ffn", layer, "down"), block.output.dense)
            yield from of_module(Site("ln", layer, "ffn"), block.output.LayerNorm)

    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        """Hidden states after the last block; a token sees every real token."""
        mask = tokens.mask if tokens.padded else None
        return model(inputs_embeds=tokens.values, attention_mask=mask).last_hidden_state

    def draw(self, site: Site, shape: tuple[int, ...]) -> Draw:
        """As `Family.draw`."""
        return norms_and_biases(site) or Normal(STD, cut=2)


def read(folder: Path) -> Anatomy:
    """The shape that a BERT's `config.json` describes.

    Raises:
        MissingError: there is no `config.json`.
        UsageError: it describes something else.
    """
    fixed = {
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
    }
    config = shapes.read_config(folder, "bert", fixed)
    width = shapes.size(config, "hidden_size", 768)
    return Anatomy(
        family="bert",
        width=width,
        heads=shapes.heads(config, "num_attention_heads", width),
        inner=shapes.size(config, "intermediate_size", 3072),
        depth=shapes.size(config, "num_hidden_layers", 12, shapes.MOST_BLOCKS),
        causal=False,
        context=shapes.size(config, "max_position_embeddings", 512),
        vocabulary=shapes.size(config, "vocab_size", 30522),
        eps=shapes.number(config, "layer_norm_eps", 1e-12),
        details={"types": shapes.size(config, "type_vocab_size", 2)},
    )


def _model(width: int, heads: int, depth: int, vocabulary: int) -> Anatomy:
    return Anatomy("bert", width, depth, False, 512, heads, 4 * width, vocabulary, 1e-12, details={"types": 2})


_MODELS = {
    "antiberty": _model(512, 8, 8, 25),
    "bert-base": _model(768, 12, 12, 30522),
    "minilm-l6": _model(384, 12, 6, 30522),
}
