"""Recipes in files: what they extend, what overrides them, and where each key was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from xmodal.errors import RecipeError, UsageError
from xmodal.recipe.library import find_recipe
from xmodal.recipe.source import MAX_SIZE, Source, parse_text, read


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    return Path("recipes")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path, overrides: Sequence[str] = ()) -> list[UsageError]:
    with pytest.raises(RecipeError) as caught:
        read(path, overrides)
    assert all(problem.what and problem.why and problem.fix for problem in caught.value.problems)
    return caught.value.problems


# Files


def test_a_byte_order_mark_and_windows_line_ends_are_no_matter(folder: Path) -> None:
    (folder / "x.yaml").write_bytes("\ufeffa: 1\r\nb: 2\r\n".encode())
    source = read(folder / "x.yaml")
    assert source.data == {"a": 1, "b": 2}
    assert source.where(("b",)) == "recipes/x.yaml:2"


def test_size_has_a_limit(folder: Path) -> None:
    start = "a: 1\n#"
    path = write(folder / "x.yaml", start + "é" * (MAX_SIZE - len(start)))
    assert read(path).data == {"a": 1}
    write(path, start + "é" * (MAX_SIZE - len(start) + 1))
    (problem,) = refused(path)
    assert problem.what == "over 1,000,000 characters"
    assert problem.where == "recipes/x.yaml:1"


def test_a_file_is_shown_as_the_user_gave_it(folder: Path) -> None:
    write(folder / "x.yaml", "a: 1\n")
    assert read(folder / "x.yaml").where(("a",)) == "recipes/x.yaml:1"
    absolute = folder.absolute() / "x.yaml"
    assert read(absolute).where(("a",)) == f"{absolute}:1"
    assert read(absolute).files == (absolute,)


@pytest.mark.parametrize("name", ["bit_xr_fpt.yaml", "bit_xor_fpt", "bit_xor_fpt.yml"])
def test_a_missing_recipe_names_its_neighbour(folder: Path, name: str) -> None:
    write(folder / "bit_xor_fpt.yaml", "a: 1\n")
    (problem,) = refused(folder / name)
    assert problem.what == f"cannot read recipes/{name}; did you mean 'recipes/bit_xor_fpt.yaml'?"
    assert problem.why == "No such file or directory"
    write(folder / "gpt.yaml", "a: 1\n")
    assert refused(folder / "gp.yaml")[0].what == "cannot read recipes/gp.yaml; did you mean 'recipes/gpt.yaml'?"


def test_a_missing_recipe_without_a_like_neighbour_suggests_none(folder: Path) -> None:
    write(folder / "abc.yaml", "a: 1\n")
    assert refused(folder / "xyz.yaml")[0].what == "cannot read recipes/xyz.yaml"
    assert refused(Path("nowhere/abc.yaml"))[0].what == "cannot read nowhere/abc.yaml"
    assert refused(folder / "abc.yaml" / "x.yaml")[0].why == "Not a directory"


def test_a_folder_and_impossible_names_are_faults(folder: Path) -> None:
    assert refused(folder)[0].why == "Is a directory"
    assert "null" in refused(folder / "a\0b.yaml")[0].why
    assert "null" in refused(Path("a\0b") / "c.yaml")[0].why
    assert "too long" in refused(folder / ("x" * 5000))[0].why
    assert "too long" in refused(Path("x" * 5000) / "a.yaml")[0].why


def test_bytes_that_are_not_utf8_are_a_fault_with_a_line(folder: Path) -> None:
    path = folder / "x.yaml"
    for raw, line in [(b"a: 1\nb: \xff\n", 2), ("a: 1\n".encode("utf-16"), 1), (b"a: 1\n\n# \xe9\n", 3)]:
        path.write_bytes(raw)
        (problem,) = refused(path)
        assert problem.what == "not printable UTF-8 text"
        assert problem.where == f"recipes/x.yaml:{line}"
        assert problem.fix == "save the file as UTF-8"


# extends


def test_the_child_is_merged_deeply_over_its_parent(folder: Path) -> None:
    write(folder / "base.yaml", "name: base\ntrain:\n  lr: 1\n  steps: 2\ntags: [a, b]\nnote: {x: 1}\nseed: 0\n")
    child = write(folder / "x.yaml", "extends: base.yaml\nname: x\ntrain: {lr: 3}\ntags: [c]\nnote: null\nlayers: 4\n")
    source = read(child)
    assert source.data == {
        "name": "x",
        "train": {"lr": 3, "steps": 2},
        "tags": ["c"],
        "note": None,
        "seed": 0,
        "layers": 4,
    }
    assert source.files == (folder / "x.yaml", folder / "base.yaml")


def test_origins_follow_the_file_a_key_came_from(folder: Path) -> None:
    write(folder / "base.yaml", "name: base\ntrain:\n  lr: 1\n  steps: 2\ntags: [a, b]\n")
    source = read(write(folder / "x.yaml", "extends: base.yaml\nname: x\ntrain: {lr: 3}\ntags: [c]\n"))
    assert source.origins == {
        (): "recipes/x.yaml",
        ("name",): "recipes/x.yaml:2",
        ("train",): "recipes/x.yaml:3",
        ("train", "lr"): "recipes/x.yaml:3",
        ("train", "steps"): "recipes/base.yaml:4",
        ("tags",): "recipes/x.yaml:4",
        ("tags", 0): "recipes/x.yaml:4",
    }


def test_another_component_does_not_inherit_the_options_of_the_one_it_replaces(folder: Path) -> None:
    write(folder / "base.yaml", "name: base\nbody: {name: minilm-l6, init: random}\nhead: {name: mean, bias: true}\n")
    child = write(
        folder / "x.yaml", "extends: base.yaml\nname: x\nbody: {name: gpt2}\nhead: {name: mean, width: 3}\nseed: 1\n"
    )
    source = read(child)
    assert source.data["body"] == {"name": "gpt2"}
    assert source.data["head"] == {"name": "mean", "bias": True, "width": 3}
    assert ("body", "init") not in source.origins
    assert source.where(("body", "init")) == "recipes/x.yaml:3"


def test_a_mapping_without_a_name_on_either_side_merges(folder: Path) -> None:
    write(folder / "base.yaml", "body: {name: gpt2, init: random}\nhead: {bias: true}\n")
    source = read(write(folder / "x.yaml", "extends: base.yaml\nbody: {dropout: 0.1}\nhead: {name: mean}\n"))
    assert source.data["body"] == {"name": "gpt2", "init": "random", "dropout": 0.1}
    assert source.data["head"] == {"bias": True, "name": "mean"}


def test_extends_goes_on_and_is_relative_to_the_file_that_says_it(folder: Path) -> None:
    (folder / "deep").mkdir()
    write(Path("grand.yaml"), "a: 1\nb: 1\nc: 1\n")
    write(folder / "base.yaml", "extends: ../grand.yaml\nb: 2\nc: 2\n")
    source = read(write(folder / "deep" / "x.yaml", "extends: ../base.yaml\nc: 3\n"))
    assert source.data == {"a": 1, "b": 2, "c": 3}
    assert [str(path) for path in source.files] == [
        "recipes/deep/x.yaml",
        "recipes/deep/../base.yaml",
        "recipes/deep/../../grand.yaml",
    ]
    assert source.where(("a",)) == "recipes/deep/../../grand.yaml:1"


def test_a_circle_shows_its_chain(folder: Path) -> None:
    write(folder / "a.yaml", "extends: b.yaml\n")
    write(folder / "b.yaml", "k: 1\nextends: c.yaml\n")
    write(folder / "c.yaml", "extends: ./a.yaml\n")
    (problem,) = refused(folder / "a.yaml")
    assert problem.what == "it extends itself"
    assert problem.where == "recipes/c.yaml:1"
    assert problem.why == "recipes/a.yaml -> recipes/b.yaml -> recipes/c.yaml -> recipes/a.yaml"
    (problem,) = refused(write(folder / "self.yaml", "extends: self.yaml\n"))
    assert problem.why == "recipes/self.yaml -> recipes/self.yaml"


def test_a_missing_parent_is_a_fault_at_the_line_that_asks_for_it(folder: Path) -> None:
    write(folder / "common.yaml", "a: 1\n")
    (problem,) = refused(write(folder / "x.yaml", "name: x\nextends: comon.yaml\n"))
    assert problem.where == "recipes/x.yaml:2"
    assert problem.what == "cannot read recipes/comon.yaml; did you mean 'recipes/common.yaml'?"


@pytest.mark.parametrize("name", ["quickstart", "lu2021-mnist-fpt", "lu2021/mnist_fpt"])
def test_a_shipped_recipe_can_be_extended_by_its_name(folder: Path, name: str) -> None:
    path = find_recipe(name)
    source = read(write(folder / "x.yaml", f"extends: {name}\nname: x\n"))
    assert source.data == {**read(path).data, "name": "x"}
    assert source.files[1] == path
    (folder / "quickstart").mkdir()  # as runs leave one, and no file
    assert read(write(folder / "x.yaml", "extends: quickstart\nname: x\n")).files[1] == find_recipe("quickstart")
    (folder / "quickstart").rmdir()
    write(folder / "quickstart", "a: 1\n")  # a file beside it comes first
    assert read(write(folder / "x.yaml", "extends: quickstart\nname: x\n")).data == {"a": 1, "name": "x"}
    (problem,) = refused(write(folder / "y.yaml", "extends: quickstrt\n"))
    assert problem.what == "cannot read recipes/quickstrt; did you mean 'quickstart'?"
    assert problem.fix == "give a YAML file that is there, or the name of a shipped recipe"


@pytest.mark.parametrize(
    ("written", "kind"), [("[a.yaml, b.yaml]", "a list"), ("{a: 1}", "a mapping"), ("", "null"), ("3", "a number")]
)
def test_extends_takes_one_file(folder: Path, written: str, kind: str) -> None:
    (problem,) = refused(write(folder / "x.yaml", f"name: x\nextends: {written}\n"))
    assert (problem.where, problem.what) == ("recipes/x.yaml:2", "extends takes one file")
    assert problem.why == f"this is {kind}"


def test_an_empty_or_impossible_parent_is_a_fault(folder: Path) -> None:
    for written, why in [('""', "Is a directory"), (r'"a\0b"', "null")]:
        (problem,) = refused(write(folder / "x.yaml", f"extends: {written}\n"))
        assert problem.where == "recipes/x.yaml:1"
        assert why in problem.why


def test_extends_below_the_top_is_a_key_like_any_other() -> None:
    assert parse_text("task: {extends: 1}", "r.yaml").data == {"task": {"extends": 1}}


def test_faults_of_all_files_and_overrides_come_together(folder: Path) -> None:
    write(folder / "base.yaml", "b: 1\nb: 2\n")
    child = write(folder / "x.yaml", "extends: base.yaml\na: 1\na: 2\n")
    problems = refused(child, ["oops", "a=[", "c=!x 1"])
    assert [problem.where for problem in problems] == [
        "recipes/x.yaml:3",
        "recipes/base.yaml:2",
        "-o oops",
        "-o a",
        "-o c",
    ]


def test_overrides_of_a_file_that_cannot_be_read_are_still_checked(folder: Path) -> None:
    assert [problem.where for problem in refused(folder / "none.yaml", ["a", "b=1", "b.c=1"])] == ["", "-o a", "-o b.c"]


# Overrides

BASE = "name: x\nbody: {name: minilm-l6, init: pretrained, dropout: 0.0}\ntrain: {lr: 3e-3, patience: 4}\ntags: [a]\n"


def overridden(folder: Path, *overrides: str) -> Source:
    return read(write(folder / "x.yaml", BASE), overrides)


@pytest.mark.parametrize(
    ("override", "path", "expected"),
    [
        ("train.lr=1e-3", ("train", "lr"), 0.001),
        ("train.patience=null", ("train", "patience"), None),
        ("body.init=random", ("body", "init"), "random"),
        ("body.layers=0:6", ("body", "layers"), "0:6"),
        ("body.init=run:runs/x=1", ("body", "init"), "run:runs/x=1"),
        ("freeze=body - ln - pos", ("freeze",), "body - ln - pos"),
        ("name='12'", ("name",), "12"),
        ("tags=[b, 1]", ("tags",), ["b", 1]),
        ("head.options.bias=true", ("head", "options", "bias"), True),
        (" train.lr = 2", ("train", "lr"), 2),
        ("train=null", ("train",), None),
    ],
)
def test_an_override_sets_one_value(folder: Path, override: str, path: tuple[str, ...], expected: object) -> None:
    source = overridden(folder, override)
    found: Any = source.data
    for key in path:
        found = found[key]
    assert found == expected
    assert type(found) is type(expected)
    assert source.where(path) == f"-o {override.partition('=')[0].strip()}"


def test_the_rest_stays_and_keeps_its_lines(folder: Path) -> None:
    source = overridden(folder, "train.lr=1", "head.bias=true")
    assert source.data["train"] == {"lr": 1, "patience": 4}
    assert source.where(("train",)) == "recipes/x.yaml:3, -o train.lr"
    assert source.where(("train", "patience")) == "recipes/x.yaml:3"
    assert source.where(("head",)) == "-o head.bias"


def test_a_mapping_merges_by_the_rule_of_extends(folder: Path) -> None:
    merged = overridden(folder, "body={dropout: 0.1}")
    assert merged.data["body"] == {"name": "minilm-l6", "init": "pretrained", "dropout": 0.1}
    assert merged.where(("body", "init")) == "recipes/x.yaml:2"
    replaced = overridden(folder, "body={name: gpt2}")
    assert replaced.data["body"] == {"name": "gpt2"}
    assert replaced.where(("body", "init")) == "-o body"


def test_a_name_alone_does_not_wipe_its_siblings(folder: Path) -> None:
    body = overridden(folder, "body.name=gpt2").data["body"]
    assert body == {"name": "gpt2", "init": "pretrained", "dropout": 0.0}


def test_later_overrides_win(folder: Path) -> None:
    assert overridden(folder, "train.lr=1", "train.lr=2").data["train"]["lr"] == 2
    assert overridden(folder, "head={name: mean}", "head.width=2").data["head"] == {"name": "mean", "width": 2}


def test_a_wiped_key_does_not_lend_its_line_to_a_later_override(folder: Path) -> None:
    write(folder / "base.yaml", "body: {name: a, schedule: {x: 1}}\n")
    child = write(folder / "x.yaml", "extends: base.yaml\nbody: {name: b}\n")
    source = read(child, ["body.schedule.y=1"])
    assert source.data == {"body": {"name": "b", "schedule": {"y": 1}}}
    assert source.where(("body", "schedule")) == "-o body.schedule.y"


@pytest.mark.parametrize(
    ("override", "where", "what", "why"),
    [
        ("train.lr", "-o train.lr", "an override is KEY=VALUE", "there is no '='"),
        ("", "-o ", "an override is KEY=VALUE", "there is no '='"),
        ("=1", "-o ", "an override is KEY=VALUE", "a key is missing"),
        ("train..lr=1", "-o train..lr", "an override is KEY=VALUE", "a key is missing"),
        ("train.=1", "-o train.", "an override is KEY=VALUE", "a key is missing"),
        ("extends=base.yaml", "-o extends", "an override is KEY=VALUE", "only a file can extend"),
        ("train.lr=", "-o train.lr", "there is nothing in it", "it is blanks and comments"),
        ("train.lr=#1", "-o train.lr", "there is nothing in it", "it is blanks and comments"),
        ("train.lr.x=1", "-o train.lr.x", "train.lr is a number and has no keys", "it was set at recipes/x.yaml:3"),
        ("tags.0=1", "-o tags.0", "tags is a list and has no keys", "it was set at recipes/x.yaml:4"),
        ("name.x.y=1", "-o name.x.y", "name is text and has no keys", "it was set at recipes/x.yaml:1"),
        ("train.lr=[1", "-o train.lr", "not valid YAML", "while parsing a flow sequence"),
        ("train.lr=!!float 1", "-o train.lr", "tag 'float' is refused", "plain data"),
        ("train.lr={a: 1, a: 2}", "-o train.lr", "key 'a' stands here again", "first: -o train.lr"),
        ("train.lr=1\n---\n2", "-o train.lr", "a second document begins", "one document"),
        ("train.lr=\udcff", "-o train.lr", "not printable UTF-8 text", "'\\udcff'"),
        (".".join("k" * 60) + "=1", "-o k.k", "nested more than 50 deep", "no recipe is"),
        (".".join("k" * 2_000) + "=1", "-o k.k", "nested more than 50 deep", "no recipe is"),
    ],
)
def test_a_malformed_override_is_a_fault(folder: Path, override: str, where: str, what: str, why: str) -> None:
    (problem,) = refused(write(folder / "x.yaml", BASE), [override])
    assert problem.where.startswith(where)
    assert len(problem.where) == len(where) or where == "-o k.k"
    assert what in problem.what
    assert why in problem.why


def test_a_path_through_an_override_names_that_override(folder: Path) -> None:
    (problem,) = refused(write(folder / "x.yaml", BASE), ["train=1", "train.lr=2"])
    assert problem.why == "it was set at -o train"
    assert problem.fix == "give all of it: -o 'train={...}'"
