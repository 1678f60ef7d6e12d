"""A spec resolved on a model: exact counts, the table, the plan as a value, and what can be wrong with claims."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from xmodal.errors import SpecError, XmodalError
from xmodal.freeze import Plan, parse
from xmodal.types import Site

# What the toys of conftest.py hold, counted by hand.
ATTN, FFN, LN = 3 * 80, 3 * 148, 3 * 16 + 8
POS, TYPE, INPUT, HEAD, UNUSED = 32, 8, 16, 10, 40


def table(plan: Plan) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in plan.rows()]


@pytest.mark.parametrize(
    ("spec", "frozen"),
    [
        ("none", 0),
        ("body - ln - pos", ATTN + FFN),
        ("body - ln - pos - ffn", ATTN),
        ("body - ln - pos - attn[-1]", ATTN + FFN - 80),
        ("body", ATTN + FFN + LN + POS),
        ("body + input", ATTN + FFN + LN + POS + INPUT),
        ("body - ln[1:]", ATTN + FFN + LN + POS - 32),
        ("all", ATTN + FFN + LN + POS + INPUT + HEAD),
        ("attn.qkv", 3 * 60),
        ("attn.bias + ffn.up[0]", 3 * 16 + 80),
    ],
)
def test_counts_of_a_gpt2(gpt2: Any, spec: str, frozen: int) -> None:
    total = ATTN + FFN + LN + POS + INPUT + HEAD + UNUSED
    assert sum(parameter.numel() for parameter in gpt2.parameters()) == total
    counts = parse(spec).on(gpt2, name="gpt2").counts()
    assert counts == {"total": total, "trainable": total - UNUSED - frozen, "frozen": frozen, "unused": UNUSED}


def test_counts_of_a_bert(bert: Any) -> None:
    assert parse("body - ln - pos").on(bert).counts() == {
        "total": 846,
        "trainable": LN + POS + INPUT + HEAD,
        "frozen": ATTN + FFN + TYPE,
        "unused": UNUSED,
    }
    assert parse("attn.q + embed").on(bert).counts()["frozen"] == 3 * 20 + TYPE


def test_trainable_frozen_and_unused_are_the_models_own_tensors(gpt2: Any) -> None:
    plan = parse("body - ln - pos").on(gpt2, name="gpt2")
    by_site = {str(site): parameter for site, parameter in gpt2.claims()}
    parts = plan.trainable(), plan.frozen(), plan.unused()
    assert all(by_site[name] is parameter for part in parts for name, parameter in part.items())
    assert sorted(name for part in parts for name in part) == sorted(by_site)
    assert set(plan.unused()) == {"embed.token.weight"}
    assert set(plan.trainable()) == {
        name for name in by_site if name.split(".")[0].split("[")[0] in ("ln", "pos", "input", "head")
    }
    assert [entry.site for entry in plan.entries] == [site for site, _ in gpt2.claims()]


def test_apply_decides_who_takes_gradients(gpt2: Any) -> None:
    plan = parse("body - ln - pos").on(gpt2)
    plan.apply()
    assert {id(p) for p in gpt2.parameters() if p.requires_grad} == {id(p) for p in plan.trainable().values()}
    plan.invert().apply()
    assert {id(p) for p in gpt2.parameters() if p.requires_grad} == {id(p) for p in plan.frozen().values()}


def test_a_plan_is_a_value(gpt2: Any, bert: Any) -> None:
    plan = parse("body - ln").on(gpt2)
    assert plan == parse("body - layernorm").on(gpt2, name="another name")
    assert hash(plan) == hash(parse("body - ln").on(gpt2))
    assert plan != parse("body - ln?").on(gpt2)
    assert plan != parse("body - ln").on(bert)
    assert plan != "body - ln"
    assert plan != replace(plan, entries=plan.invert().entries)
    assert plan == replace(plan, entries=plan.entries[::-1])
    with torch.no_grad():
        for parameter in gpt2.parameters():
            parameter.add_(1)
    assert plan == parse("body - ln").on(gpt2)
    with pytest.raises(AttributeError):
        plan.name = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    "spec", ["none", "all", "- ln", "body - ln", "body - (ln + pos)[1:]?", "all - ln", "all - all"]
)
def test_inverting_exchanges_trainable_and_frozen(gpt2: Any, spec: str) -> None:
    plan = parse(spec).on(gpt2, name="gpt2") if "pos" not in spec else parse(spec).on(gpt2)
    inverse = plan.invert()
    assert inverse.trainable().keys() == plan.frozen().keys()
    assert inverse.frozen().keys() == plan.trainable().keys()
    assert inverse.unused().keys() == plan.unused().keys()
    assert inverse.spec != plan.spec
    assert inverse.invert() == plan
    assert inverse.invert().clauses == plan.clauses
    assert inverse.name == plan.name


def test_the_inverse_reads_as_a_spec_that_gives_it(gpt2: Any) -> None:
    inverse = parse("body - ln").on(gpt2).invert()
    assert str(inverse.spec) == "all - (body - ln)"
    assert parse(str(inverse.spec)).on(gpt2) == inverse
    assert [(str(clause), clause.hits, clause.changed) for clause in inverse.clauses] == [
        ("+ all", 43, 43),
        ("- (body - ln)", 25, 25),
    ]


def test_rows_of_a_gpt2(gpt2: Any) -> None:
    assert table(parse("body - ln - pos").on(gpt2)) == [
        ("attn", "", "0-2", 12, ATTN, "frozen"),
        ("ffn", "", "0-2", 12, FFN, "frozen"),
        ("ln", "", "0-2", 14, LN, "trainable"),
        ("pos", "", "", 1, POS, "trainable"),
        ("embed", "", "", 1, UNUSED, "unused"),
        ("input", "", "", 2, INPUT, "trainable"),
        ("head", "", "", 2, HEAD, "trainable"),
    ]
    assert list(parse("body").on(gpt2).rows()[0]) == ["role", "part", "layers", "tensors", "parameters", "state"]


@pytest.mark.parametrize(
    ("spec", "role", "expected"),
    [
        ("attn[-1]", "attn", [("", "0-1", 16, 160, "trainable"), ("", "2", 8, 80, "frozen")]),
        ("attn[::2]", "attn", [("", "0, 2", 16, 160, "frozen"), ("", "1", 8, 80, "trainable")]),
        ("attn.q", "attn", [("q", "0-2", 6, 60, "frozen"), ("k, v, out", "0-2", 18, 180, "trainable")]),
        ("attn.bias", "attn", [("weight", "0-2", 12, 192, "trainable"), ("bias", "0-2", 12, 48, "frozen")]),
        (
            "attn.bias + attn.out",
            "attn",
            [
                ("q.weight, k.weight, v.weight", "0-2", 9, 144, "trainable"),
                ("q.bias, k.bias, v.bias, out", "0-2", 15, 96, "frozen"),
            ],
        ),
        ("ln.embed", "ln", [("embed", "", 2, 8, "frozen"), ("attn, ffn", "0-2", 12, 48, "trainable")]),
        (
            "ln.attn[0]",
            "ln",
            [
                ("embed", "", 2, 8, "trainable"),
                ("attn", "0", 2, 8, "frozen"),
                ("attn", "1-2", 4, 16, "trainable"),
                ("ffn", "0-2", 6, 24, "trainable"),
            ],
        ),
        ("embed", "embed", [("token", "", 1, 40, "unused"), ("type", "", 1, 8, "frozen")]),
        ("input.bias", "input", [("weight", "", 1, 12, "trainable"), ("bias", "", 1, 4, "frozen")]),
    ],
)
def test_rows_split_a_role_where_its_states_differ(bert: Any, spec: str, role: str, expected: list[Any]) -> None:
    assert [row[1:] for row in table(parse(spec).on(bert)) if row[0] == role] == expected


def test_rows_name_the_kinds_of_what_has_no_part() -> None:
    class Tokenizer:
        def claims(self) -> Iterator[tuple[Site, nn.Parameter]]:
            for site in (Site("input"), Site("input", kind="bias"), Site("input", part="class")):
                yield site, nn.Parameter(torch.zeros(2))

    rows = table(parse("input.class").on(Tokenizer()))
    assert [row[:2] for row in rows] == [("input", "weight, bias"), ("input", "class")]


def test_the_table_as_text(gpt2: Any) -> None:
    assert str(parse("body - ln - attn[-1] - relpos?").on(gpt2, name="toy")) == (
        "toy, frozen: body - ln - attn[-1] - relpos?\n"
        "\n"
        "role   part  layers  tensors  parameters  state\n"
        "attn         0-1           8         160  frozen\n"
        "attn         2             4          80  trainable\n"
        "ffn          0-2          12         444  frozen\n"
        "ln           0-2          14          56  trainable\n"
        "pos                        1          32  frozen\n"
        "embed                      1          40  unused\n"
        "input                      2          16  trainable\n"
        "head                       2          10  trainable\n"
        "\n"
        "trainable 162 of 838 (19.332 %), frozen 636, unused 40 (never held in memory)\n"
        "\n"
        "clause      hits  changed\n"
        "+ body        39       39\n"
        "- ln          14       14\n"
        "- attn[-1]     4        4\n"
        "- relpos?      0        0"
    )
    assert "clause" not in str(parse("none").on(gpt2))


def test_the_plan_as_json(gpt2: Any) -> None:
    said = parse("body - ln").on(gpt2, name="toy").to_dict()
    assert json.loads(json.dumps(said)) == said
    assert said["name"], said["spec"] == ("toy", "body - ln")
    assert said["rows"][0] == {
        "role": "attn",
        "part": "",
        "layers": "0-2",
        "tensors": 12,
        "parameters": 240,
        "state": "frozen",
    }
    assert said["clauses"][1] == {"sign": "-", "text": "ln", "hits": 14, "changed": 14}
    assert said["counts"] == {"total": 838, "trainable": 82, "frozen": 716, "unused": 40}


def test_a_model_without_values(gpt2: Any) -> None:
    real = parse("body - ln").on(gpt2)
    meta = parse("body - ln").on(gpt2.to("meta"))
    meta.apply()
    assert meta == real
    assert meta.counts()["frozen"] == 716
    assert all(parameter.is_meta for parameter in meta.trainable().values())


def test_messages_call_the_model_by_its_name(gpt2: Any) -> None:
    with pytest.raises(SpecError, match=r"^recipe\.yaml:7: minilm has attn"):
        parse("relpos").on(gpt2, name="minilm", where="recipe.yaml:7")
    with pytest.raises(SpecError, match="Toy has attn"):
        parse("relpos").on(gpt2)


class Claiming(nn.Module):
    """Claims what it is told to."""

    def __init__(self, *sites: Site, shared: bool = False, extra: int = 0) -> None:
        super().__init__()
        self.one, self.two = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.more = nn.ParameterList(nn.Parameter(torch.zeros(1)) for _ in range(extra))
        self.sites, self.shared = sites, shared

    def claims(self) -> Iterator[tuple[Site, nn.Parameter]]:
        yield from zip(self.sites, (self.one, self.one if self.shared else self.two), strict=False)


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        (Claiming(Site("pos"), Site("pos")), "the site pos.weight is claimed 2 times"),
        (Claiming(Site("pos"), Site("ln"), shared=True), "one parameter is claimed as pos.weight and ln.weight"),
        (Claiming(Site("pos"), Site("ln"), shared=True), "nothing claims two"),
        (Claiming(Site("pos")), "nothing claims two"),
        (Claiming(Site("pos"), Site("ln"), extra=7), "claims more.0, more.1, more.2, more.3, more.4 and 2 more"),
        (Claiming(Site("pos"), Site("mlp")), "the site mlp.weight has a role that no spec can name"),
    ],
)
def test_claims_that_are_wrong(model: Claiming, fault: str) -> None:
    with pytest.raises(XmodalError) as caught:
        parse("none").on(model, name="toy")
    error = caught.value
    assert error.what.startswith("toy claims its parameters wrongly: ")
    assert fault in error.what
    assert error.where.endswith("Claiming.claims")
    assert "every parameter exactly once" in error.why
    assert "yield every parameter once" in error.fix


def test_a_tied_parameter_is_one_parameter_at_one_site() -> None:
    model = Claiming(Site("pos"), Site("ln"))
    model.tied = model.one
    assert parse("all").on(model).counts()["total"] == 2
