"""Every parameter is claimed once, what is claimed is what the anatomy says, and the counts are the published ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from torch import nn

from xmodal.bodies import BODIES, sites, skeleton
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.weights import build_body
from xmodal.components import find, load
from xmodal.types import BODY_ROLES, Site

Tiny = Callable[..., BodyOptions]
# The others have sizes that are options, and a file of tests of their own.
OWN = ("hf:", "none", "one-attention", "one-block", "transformer")
NAMES = [name + "vit_tiny_patch16_224" if name == "timm:" else name for name in BODIES if name not in OWN]
COUNTS = {
    "antiberty": 25_496_064,
    "bert-base": 108_891_648,  # 109,482,240 with the pooler
    "gpt2": 124_439_808,
    "gpt2-large": 774_030_080,
    "gpt2-medium": 354_823_168,
    "gpt2-xl": 1_557_611_200,
    "linformer": 1024 * 128 + 3 * (2 * 256 * 1024 + 12 * 128**2 + 13 * 128) + 2 * 128,
    "longformer-base": 148_068_864,  # 148,659,456 with the pooler
    "lstm": 3 * (2 * (768 + 1) * 4 * 768 + 2 * (4 + 4 + 1) * 768),
    "minilm-l6": 22_565_376,  # 22,713,216 with the pooler, which nothing reads
    "smollm2-135m": 134_515_008,
    "t5-base": 109_628_544,  # of 222,903,552; the rest is the decoder
    "t5-small": 35_330_816,  # of 60,506,624; the rest is the decoder
    "timm:vit_tiny_patch16_224": 5_524_416,  # 5,717,416 with the classifier of 1000
    "vit-b16": 85_798_656,  # 86,567,656 with it
    "vit-s14-saliency": 22_056_192,  # 22,056,576 with the mask token that only DINOv2's training reads
}


def named(name: str, **changes: object) -> BodyOptions:
    return load(find("body", BODIES, name).options).model_validate({"name": name, "init": "random", **changes})


def by_site(options: BodyOptions) -> dict[Site, nn.Parameter]:
    return dict(skeleton(options).claims())


def count(sites: dict[Site, nn.Parameter], **wanted: object) -> int:
    return sum(
        parameter.numel() for site, parameter in sites.items() if all(getattr(site, k) == v for k, v in wanted.items())
    )


def must_claim_all(body: nn.Module, claims: list[tuple[Site, nn.Parameter]]) -> None:
    claimed = Counter(id(parameter) for _, parameter in claims)
    assert claimed == Counter(id(parameter) for parameter in body.parameters())
    assert set(claimed.values()) == {1}
    assert len({site for site, _ in claims}) == len(claims)
    assert len({str(site) for site, _ in claims}) == len(claims)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layers", [None, "0:2", "-1", "::3"])
def test_claims_are_total_disjoint_and_what_the_anatomy_says(name: str, layers: str | None) -> None:
    options = named(name, layers="0:1" if name[:3] == "t5-" and layers == "-1" else layers)  # it needs its first
    body = skeleton(options)
    assert isinstance(body, nn.Module)
    claims = list(body.claims())
    must_claim_all(body, claims)
    said = sites(options)
    assert Counter(site for site, _ in claims) == Counter(said)
    assert {(site, site.used) for site, _ in claims} == {(site, site.used) for site in said}
    assert {site.role for site in said} <= set(BODY_ROLES)


def test_claims_hold_after_values_were_filled_in(tiny: Tiny) -> None:
    body = build_body(tiny(layers="1:"), seed=0).body
    must_claim_all(body, list(body.claims()))


@pytest.mark.parametrize("name", NAMES)
def test_published_counts(name: str) -> None:
    assert count(by_site(named(name))) == COUNTS[name]


def test_where_the_parameters_of_gpt2_are() -> None:
    sites = by_site(named("gpt2"))
    assert count(sites, role="ln") == 38_400
    assert count(sites, role="pos") == 786_432
    assert count(sites, role="embed") == 38_597_376
    assert count(sites, used=False) == 38_597_376  # nothing else is unused
    assert count(sites, role="attn") == 12 * (768 * 2304 + 2304 + 768 * 768 + 768)
    assert count(sites, role="ffn") == 12 * (768 * 3072 + 3072 + 3072 * 768 + 768)


def test_where_the_parameters_of_minilm_are() -> None:
    sites = by_site(named("minilm-l6"))
    assert count(sites, role="ln") == (1 + 2 * 6) * 2 * 384
    assert count(sites, role="pos") == 512 * 384
    assert count(sites, role="embed", part="type") == 2 * 384
    assert count(sites, used=False) == count(sites, part="token") == 30_522 * 384


def test_sites_are_where_transformers_puts_them(tiny: Tiny, family: str) -> None:
    body = skeleton(tiny())
    names = {str(site): body.source_names[parameter] for site, parameter in body.claims()}
    wanted = {
        "gpt2": {
            "embed.token.weight": "wte.weight",
            "pos.weight": "wpe.weight",
            "attn[1].qkv.weight": "h.1.attn.c_attn.weight",
            "attn[1].out.bias": "h.1.attn.c_proj.bias",
            "ffn[2].up.weight": "h.2.mlp.c_fc.weight",
            "ffn[2].down.weight": "h.2.mlp.c_proj.weight",
            "ln[0].attn.weight": "h.0.ln_1.weight",
            "ln[0].ffn.bias": "h.0.ln_2.bias",
            "ln.final.weight": "ln_f.weight",
        },
        "bert": {
            "embed.token.weight": "embeddings.word_embeddings.weight",
            "embed.type.weight": "embeddings.token_type_embeddings.weight",
            "pos.weight": "embeddings.position_embeddings.weight",
            "ln.embed.bias": "embeddings.LayerNorm.bias",
            "attn[1].q.weight": "encoder.layer.1.attention.self.query.weight",
            "attn[1].k.weight": "encoder.layer.1.attention.self.key.weight",
            "attn[1].v.bias": "encoder.layer.1.attention.self.value.bias",
            "attn[1].out.weight": "encoder.layer.1.attention.output.dense.weight",
            "ln[2].attn.weight": "encoder.layer.2.attention.output.LayerNorm.weight",
            "ffn[0].up.weight": "encoder.layer.0.intermediate.dense.weight",
            "ffn[0].down.weight": "encoder.layer.0.output.dense.weight",
            "ln[2].ffn.weight": "encoder.layer.2.output.LayerNorm.weight",
        },
    }[family]
    assert {site: names[site] for site in wanted} == wanted


@pytest.mark.parametrize("name", NAMES)
def test_a_skeleton_takes_no_memory(name: str) -> None:
    body = skeleton(named(name))
    assert isinstance(body, nn.Module)
    assert all(parameter.is_meta for parameter in body.parameters())
    # What is not on the meta device: BERT's two rows of position and type numbers.
    assert sum(buffer.nbytes for buffer in body.buffers() if not buffer.is_meta) <= 2 * 8 * 512


def test_a_body_says_what_it_is(tiny: Tiny, family: str) -> None:
    options = tiny(layers="0:2")
    body, anatomy = skeleton(options), options.anatomy()
    assert (body.width, body.context, body.causal) == (32, 64, family == "gpt2")
    assert (anatomy.width, anatomy.context, anatomy.causal) == (32, 64, family == "gpt2")
    assert (anatomy.depth, anatomy.layers, anatomy.heads, anatomy.inner) == (3, (0, 1), 4, 128)
    assert anatomy.eps == {"gpt2": 1e-5, "bert": 1e-12}[family]


@pytest.mark.parametrize("name", NAMES)
def test_layer_norms_keep_the_bodys_own_eps(name: str) -> None:
    body = skeleton(named(name))
    assert isinstance(body, nn.Module)
    norms = [module for module in body.modules() if type(module).__name__.endswith(("LayerNorm", "RMSNorm"))]
    eps = {getattr(norm, "eps", None) or norm.variance_epsilon for norm in norms}  # type: ignore[union-attr]
    own = {"linformer": 1e-5, "longformer": 1e-5, "lstm": 1e-6, "gpt2": 1e-5, "smollm2": 1e-5, "t5": 1e-6, "vit": 1e-6}
    assert eps == {next((own[kind] for kind in own if kind in name), 1e-12)}
