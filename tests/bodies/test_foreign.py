"""Plans on models that transformers and timm built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import timm
import torch
import transformers as hf
from torch import nn

import xmodal
from xmodal.bodies import body_options, skeleton

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}
GPT2 = {"vocab_size": 50, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 0}
T5 = {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}


def gpt2(kind: Any = hf.GPT2Model, **more: Any) -> Any:
    return kind(hf.GPT2Config(**{**GPT2, "eos_token_id": 0, "pad_token_id": 0, **more}))


def bert(kind: Any = hf.BertModel, **more: Any) -> Any:
    return kind(hf.BertConfig(**SIZES), **more)


def llama(kind: Any = hf.LlamaModel, **more: Any) -> Any:
    return kind(hf.LlamaConfig(**SIZES, **more))


MODELS = {
    "gpt2": gpt2,
    "gpt2 lm": lambda: gpt2(hf.GPT2LMHeadModel),
    "gpt2 untied lm": lambda: gpt2(hf.GPT2LMHeadModel, tie_word_embeddings=False),
    "gpt2 classifier": lambda: gpt2(hf.GPT2ForSequenceClassification),
    "bert": bert,
    "bert without pooler": lambda: bert(add_pooling_layer=False),
    "bert mlm": lambda: bert(hf.BertForMaskedLM),
    "bert classifier": lambda: bert(hf.BertForSequenceClassification),
    "llama": llama,
    "llama biased": lambda: llama(attention_bias=True),
    "llama lm": lambda: llama(hf.LlamaForCausalLM),
    "t5": lambda: hf.T5EncoderModel(hf.T5Config(**T5)),
    "t5 gated": lambda: hf.T5EncoderModel(hf.T5Config(**T5, feed_forward_proj="gated-gelu")),
    "longformer": lambda: hf.LongformerModel(hf.LongformerConfig(**SIZES, attention_window=4)),
    "vit": lambda: timm.create_model("vit_tiny_patch16_224", depth=2, num_classes=3),
    "vit pooled": lambda: timm.create_model("vit_tiny_patch16_224", depth=2, global_pool="avg"),
    "vit attention pool": lambda: timm.create_model("vit_base_patch16_siglip_224", depth=1),
    "dinov2": lambda: timm.create_model("vit_small_patch14_dinov2", depth=2),
}
HEADS = {
    "gpt2 untied lm": {"head.lm_head.weight"},
    "gpt2 classifier": {"head.score.weight"},
    "bert": {"head.pooler_dense.weight", "head.pooler_dense.bias"},
    "llama lm": {"head.lm_head.weight"},
    "vit": {"head.head.weight", "head.head.bias"},
}


@pytest.mark.parametrize("name", MODELS)
def test_a_plan_knows_every_parameter_of_a_model(name: str) -> None:
    model = MODELS[name]()
    plan = xmodal.plan(model, "body - ln - pos?")
    mine = set(model.parameters())
    assert {entry.parameter for entry in plan.entries} == mine
    assert len(plan.entries) == len(mine)
    assert plan.name == type(model).__name__
    assert not plan.unused()
    trained = {name.partition("[")[0].partition(".")[0] for name in plan.trainable()}
    assert trained <= {"ln", "pos", "head"}
    if name in HEADS:
        assert {site for site in plan.trainable() if site.startswith("head")} == HEADS[name]
    plan.apply()
    assert {p for p in model.parameters() if p.requires_grad} == set(plan.trainable().values())
    assert "trainable" in str(plan)


@pytest.mark.parametrize(("name", "body"), [("gpt2", gpt2), ("minilm-l6", bert)])
def test_sites_are_those_of_our_own_body(name: str, body: Any) -> None:
    theirs = {entry.site for entry in xmodal.plan(body()).entries if entry.site.role != "head"}
    ours = {site for site, _ in skeleton(body_options(name, layers="0:2")).claims()}
    assert theirs == ours


def test_training_by_a_plan_moves_what_it_says_and_nothing_else() -> None:
    model = gpt2(hf.GPT2ForSequenceClassification)
    plan = xmodal.plan(model)
    plan.apply()
    seal = xmodal.Seal.of(plan, dict(model.named_buffers()))
    before = {name: parameter.detach().clone() for name, parameter in plan.trainable().items()}
    optimizer = torch.optim.SGD(plan.trainable().values(), lr=1.0)
    model(input_ids=torch.tensor([[1, 2, 3]]), labels=torch.tensor([1])).loss.backward()
    optimizer.step()
    seal.check(plan, dict(model.named_buffers()))
    assert not torch.equal(before["head.score.weight"], plan.trainable()["head.score.weight"])


def test_what_has_claims_is_asked_for_them() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer: Any = nn.Linear(2, 2)

        def claims(self) -> Iterator[tuple[xmodal.Site, nn.Parameter]]:
            yield xmodal.Site("ffn", 0), self.layer.weight
            yield xmodal.Site("ffn", 0, kind="bias"), self.layer.bias

    assert list(xmodal.plan(Own(), "ffn.weight", name="mine").trainable()) == ["ffn[0].bias"]
    body = skeleton(body_options("gpt2"))
    assert xmodal.plan(body).unused()  # the token embedding, which a body of ours never reads


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: hf.T5Model(hf.T5Config(**T5)), "nothing claims decoder.block.0"),
        (lambda: llama(mlp_bias=True), "nothing claims layers.0.mlp.gate_proj.bias"),
        (lambda: gpt2(add_cross_attention=True), "nothing claims h.0.crossattention"),
        (lambda: nn.Linear(2, 2), "no family claims Linear"),
        (lambda: hf.MistralModel(hf.MistralConfig(**SIZES, num_key_value_heads=2)), "no family claims MistralModel"),
        (lambda: timm.create_model("deit_tiny_distilled_patch16_224"), "no family claims VisionTransformerDistilled"),
        (
            lambda: timm.create_model("vit_small_patch16_18x2_224", depth=1),
            "nothing claims blocks.0.attns.0.norm.weight",
        ),
        (lambda: 3, "a plan is made on a model, and this is int"),
    ],
    ids=["t5", "llama", "gpt2", "linear", "mistral", "deit", "parallel", "number"],
)
def test_a_model_that_is_not_known_whole_is_refused(model: Any, said: str) -> None:
    with pytest.raises(xmodal.UsageError) as caught:
        xmodal.plan(model(), "none")
    error = caught.value
    assert said in error.what
    assert error.where
    assert error.fix


def test_a_body_inside_a_model_is_pointed_at() -> None:
    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.encoder = nn.Linear(2, 16), gpt2()

    with pytest.raises(xmodal.UsageError, match="no family claims Mine") as caught:
        xmodal.plan(Mine())
    assert "model.encoder" in caught.value.fix


def test_a_clause_that_hits_nothing_is_refused() -> None:
    with pytest.raises(xmodal.SpecError, match="LlamaModel has attn, ffn, ln and embed, and nothing to call `pos`"):
        xmodal.plan(llama(), "body - ln - pos")
