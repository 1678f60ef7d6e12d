"""Our bodies compute what timm's own models compute from the same weights and the same patches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import save_for_hf
from torch import Tensor, nn

from xmodal.bodies.vit import Vit, VitOptions
from xmodal.bodies.weights import build_body
from xmodal.errors import UsageError
from xmodal.tensors import Tokens
from xmodal.types import Body

SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 3}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("vit_tiny_patch16_224", {"depth": 2}),
    "dinov2": ("vit_small_patch14_dinov2", {"depth": 2, "img_size": 70}),
    "registers": ("vit_small_patch14_reg4_dinov2", {"depth": 2, "img_size": 70}),
    "packed SwiGLU": ("vit_giant_patch14_dinov2", SMALL | {"img_size": 70}),
    "SwiGLU": ("aimv2_large_patch14_224", SMALL),
    "norm in front": ("vit_xsmall_patch16_clip_224", SMALL),
    "positions of patches only": ("deit3_small_patch16_224", SMALL),
    "no class token": ("vit_base_patch16_siglip_224", SMALL),
    "no final norm": ("vit_medium_patch16_reg4_gap_256", SMALL),
    "query and key norms": ("vit_tiny_patch16_224", SMALL | {"qk_norm": True}),
}
DROPPED = ("pos_drop", "attn_drop", "proj_drop", "mlp.drop1", "mlp.drop2")


def saved(folder: Path, name: str, arguments: dict[str, Any]) -> tuple[Any, VitOptions]:
    """A model of timm whose every parameter was moved, and options of our body with the same weights."""
    model: Any = timm.create_model(name, pretrained=False, num_classes=0, **arguments).eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.empty(parameter.shape).normal_(0, 0.05, generator=random))
    save_file({key: tensor.contiguous() for key, tensor in model.state_dict().items()}, folder / "model.safetensors")
    config = {"architecture": name, "num_classes": 0, "model_args": arguments}
    (folder / "config.json").write_text(json.dumps(config))
    return model, VitOptions(name="vit-b16", path=str(folder))


def image(model: Any) -> Tensor:
    return torch.empty(2, 3, *model.patch_embed.img_size).normal_(generator=torch.Generator().manual_seed(1))


def patches(model: Any, pixels: Tensor) -> Tokens:
    """What timm's own patch embedding makes of an image, as tokens of ours."""
    values = model.patch_embed(pixels).flatten(1, -2)
    return Tokens(
        values, torch.ones(values.shape[:2], dtype=torch.bool), padded=False, grid=model.patch_embed.grid_size
    )


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_features_are_those_of_timm(tmp_path: Path, variant: str) -> None:
    model, options = saved(tmp_path, *VARIANTS[variant])
    body = build_body(options, seed=0).body.eval()
    pixels = image(model)
    hidden, wanted = body(patches(model, pixels)), model.forward_features(pixels)
    assert hidden.dtype == torch.float32
    assert hidden.shape == wanted.shape
    assert body.prefix == model.num_prefix_tokens
    torch.testing.assert_close(hidden, wanted, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vit_tiny_patch16_224", {}),
        ("vit_tiny_patch16_224", {"num_classes": 7, "in_chans": 1, "global_pool": "avg"}),
        ("vit_small_patch14_reg4_dinov2", {"img_size": (70, 70)}),
        ("vit_base_patch16_siglip_224", {}),
    ],
)
def test_a_folder_that_timm_saved_is_that_model(tmp_path: Path, name: str, said: dict[str, Any]) -> None:
    model: Any = timm.create_model(name, pretrained=False, depth=2, **said).eval()
    save_for_hf(model, str(tmp_path), model_args={"depth": 2, **said}, safe_serialization=True)
    body = build_body(VitOptions(name=f"timm:{name}", path=str(tmp_path)), seed=0).body.eval()
    pixels = torch.empty(2, said.get("in_chans", 3), *model.patch_embed.img_size).normal_()
    wanted = model.forward_features(pixels)
    torch.testing.assert_close(body(patches(model, pixels)), wanted, rtol=0, atol=1e-5)


def test_a_folder_of_another_architecture_says_so(tmp_path: Path) -> None:
    save_for_hf(timm.create_model("resnet18", pretrained=False), str(tmp_path), safe_serialization=True)
    with pytest.raises(UsageError, match="resnet18 is a ResNet, not a VisionTransformer"):
        build_body(VitOptions(name="timm:resnet18", path=str(tmp_path)), seed=0)


@torch.no_grad()
def test_kept_blocks_are_those_of_timm(tmp_path: Path) -> None:
    model, options = saved(tmp_path, "vit_tiny_patch16_224", SMALL | {"depth": 3})
    body = build_body(options.model_copy(update={"layers": "::2"}), seed=0).body.eval()
    pixels = image(model)
    model.blocks = nn.Sequential(model.blocks[0], model.blocks[2])
    torch.testing.assert_close(body(patches(model, pixels)), model.forward_features(pixels), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("grid", [(8, 8), (5, 11), (20, 3)])
@pytest.mark.parametrize("antialias", [True, False])
def test_positions_are_resampled_as_timm_does(tmp_path: Path, grid: tuple[int, int], antialias: bool) -> None:
    model, options = saved(tmp_path, "vit_tiny_patch16_224", SMALL)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"antialias": antialias}))
    body = build_body(options, seed=0).body.eval()
    values = torch.empty(2, grid[0] * grid[1], 48).normal_(generator=torch.Generator().manual_seed(2))
    tokens = Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool), padded=False, grid=grid)
    moved = resample_abs_pos_embed(model.pos_embed, list(grid), [14, 14], num_prefix_tokens=1, antialias=antialias)
    inputs = torch.cat([model.cls_token.expand(2, -1, -1), values], dim=1) + moved
    torch.testing.assert_close(body(tokens), model.norm(model.blocks(inputs)), rtol=0, atol=1e-5)


def test_gradients_are_those_of_timm_and_reach_positions_through_the_resampling(tmp_path: Path) -> None:
    model, options = saved(tmp_path, "vit_small_patch14_reg4_dinov2", SMALL | {"img_size": 70})
    body, pixels = build_body(options, seed=0).body.eval(), image(model)
    body(patches(model, pixels)).square().sum().backward()
    mine = {body.source_names.get(p, n): p.grad for n, p in body.model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.forward_features(pixels).square().sum().backward()
    wanted = {n: p.grad for n, p in model.named_parameters() if not n.startswith("patch_embed.")}
    assert mine.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-4, atol=1e-4)
    body.zero_grad()
    for grid in ((3, 7), None):
        tokens = Tokens(torch.randn(2, 21, 48), torch.ones(2, 21, dtype=torch.bool), padded=False, grid=grid)
        body(tokens).square().sum().backward()
        assert float(body.model.pos_embed.grad.abs().amax(dim=-1).min()) > 0 or grid is None
        assert float(body.model.pos_embed.grad.abs().sum()) > 0
        body.zero_grad()


@torch.no_grad()
def test_dropout_reaches_every_dropout(tmp_path: Path) -> None:
    model, options = saved(tmp_path, "vit_tiny_patch16_224", SMALL)
    body: Body = build_body(options.model_copy(update={"dropout": 0.5}), seed=0).body
    tokens = patches(model, image(model))
    places = {n: m for n, m in body.model.named_modules() if isinstance(m, nn.Dropout) and not n.startswith("head")}
    assert {next(word for word in DROPPED if name.endswith(word)) for name in places} == set(DROPPED)
    assert {module.p for module in places.values()} == {0.5}
    quiet = body.eval()(tokens)
    body.train()
    for name, module in places.items():
        for other in places.values():
            other.p = 0.5 if other is module else 0.0
        assert float((body(tokens) - quiet).abs().max()) > 1e-2, f"{name} drops nothing"


@torch.no_grad()
def test_training_mode_has_no_dropout_unless_the_recipe_says_so(tmp_path: Path) -> None:
    model, options = saved(tmp_path, "vit_tiny_patch16_224", SMALL)
    body, tokens = build_body(options, seed=0).body, patches(model, image(model))
    assert body.training
    assert isinstance(body.family, Vit)
    assert torch.equal(body(tokens), body.eval()(tokens))
