from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from xmodal.errors import RecipeError, UsageError
from xmodal.recipe import load_recipe
from xmodal.recipe.library import find_recipe
from xmodal.recipe.source import shipped

GOOD = """\
name: trial
task: {name: bit-xor, bits: 5}
tokenizer: {name: sequence}
body: {name: minilm-l6, init: random}
freeze: body - ln - pos
head: {name: per-position}
train:
  lr: 3e-3
  steps: 10
"""


def problems(tmp_path: Path, text: str, *overrides: str) -> list[UsageError]:
    file = tmp_path / "trial.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(file, overrides)
    return list(caught.value.problems)


def only(tmp_path: Path, text: str, *overrides: str) -> UsageError:
    found = problems(tmp_path, text, *overrides)
    assert len(found) == 1, [str(problem) for problem in found]
    return found[0]


def test_a_good_recipe_has_its_defaults_and_its_numbers(tmp_path: Path) -> None:
    (tmp_path / "trial.yaml").write_text(GOOD)
    recipe = load_recipe(tmp_path / "trial.yaml", seed=7)
    assert recipe.train.lr == 0.003  # PyYAML alone reads the text '3e-3'
    assert recipe.train.optimizer == "adam"
    assert recipe.train.clip_norm == 1.0
    assert recipe.body.dropout == 0.0
    assert recipe.precision == "auto"
    assert recipe.seed == 7


def test_the_designs_example_is_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "trial.yaml").write_text(
        """\
name: bit-xor-fpt
task: {name: bit-xor, bits: 5}
tokenizer: {name: sequence}
body: {name: minilm-l6, init: pretrained, dropout: 0.0}
freeze: body - ln - pos
head: {name: per-position}
train: {optimizer: adam, lr: 3e-3, batch_size: 32, steps: 400, clip_norm: 1.0, eval_every: 50, patience: 4}
precision: auto
seed: 0
"""
    )
    assert load_recipe(tmp_path / "trial.yaml").train.patience == 4


@pytest.mark.parametrize(
    ("old", "new", "line", "what", "rest"),
    [
        (
            "  lr: 3e-3",
            "  learning_rte: 3e-3\n  lr: 1",
            8,
            "no key 'learning_rte' in train; did you mean 'lr'?",
            "known:",
        ),
        ("  steps: 10", "  steps: 10\n  batchsize: 3", 10, "in train; did you mean 'batch_size'?", "known:"),
        ("  steps: 10", '  steps: "10"', 9, "train.steps: input should be a valid integer, not '10'", "Most steps"),
        ("  steps: 10", "  steps: 0", 9, "train.steps: input should be greater than or equal to 1, not 0", ""),
        ("  lr: 3e-3", "  lr: -1", 8, "train.lr: input should be greater than 0", "Learning rate"),
        ("  lr: 3e-3", "  lr: .inf", 8, "train.lr: input should be a finite number", ""),
        ("  steps: 10", "  steps: 10\n  warmup: 11", 10, "warmup of 11 is longer than the 10 steps", ""),
        ("freeze: body", "freez: body", 5, "no key 'freez'; did you mean 'freeze'?", ""),
        ("freeze: body", "lr: 1\nfreeze: body", 5, "no key 'lr'; 'lr' belongs in train", ""),
        ("freeze: body", "init: random\nfreeze: body", 5, "no key 'init'; 'init' belongs in tokenizer or body", ""),
        ("name: trial", "name: ../trial", 1, "name: string should match pattern", "run folder"),
        ("bit-xor, bits: 5", "bit-xr", 2, "no task 'bit-xr'; did you mean 'bit-xor'?", "bit-memory"),
        ("bits: 5", "bits: 5, strings: 2", 2, "no key 'strings' in task", "known: name, fraction, bits"),
        ("bits: 5", "bits: true", 2, "task.bits: input should be a valid integer, not True", ""),
        ("minilm-l6", "minilm", 4, "no body 'minilm'; did you mean 'minilm-l6'?", "gpt2"),
        ("init: random", "init: randm", 4, "no init 'randm'; did you mean 'random'?", "run:FOLDER"),
        ("init: random", "init: 'random:scaled'", 4, "no init 'random:scaled'", "random:flat"),
        ("init: random", 'init: random, layers: "0:7"', 4, "goes past the last block", "minilm-l6 has 6"),
        ("init: random", "init: random, dropout: 1.0", 4, "body.dropout: input should be less than 1", ""),
        ("body - ln - pos", "body - ln - scale", 5, "scale", "?"),
        ("body - ln - pos", "body - attn.qkv", 5, "qkv", "q"),
        ("body - ln - pos", "body - ln[6:]", 5, "6", ""),
        ("body - ln - pos", "body - atn", 5, "atn", "attn"),
        ("body - ln - pos", "all", 5, "'all' freezes everything", "all - head"),
        (
            "head: {name: per-position}",
            "head: {name: mean}",
            6,
            "mean gives one label for a sample",
            "use head per-position",
        ),
        ("sequence}", "patch, size: 3}", 3, "patches of 3 do not fill a sequence of 10 symbols", "1, 2, 5, 10"),
        ("sequence}", "amino-acid}", 3, "amino-acid reads letters", "use tokenizer sequence"),
        ("sequence}", "patch, size: 5}", 6, "reads the last 5 tokens, and a sample has 2", "set head.per_token to 5"),
        (
            "head: {name: per-position}",
            "head: {name: per-position, per_token: 2}",
            6,
            "5 labels cannot be read 2 to a token",
            "",
        ),
        ("head: {name: per-position}", "head: mean", 6, "head is a word, and options are wanted", "head: {name: mean}"),
        ("head: {name: per-position}\n", "", 1, "head is missing", "How a label is read"),
        ("  steps: 10", "  steps: 10\nseed: -1", 10, "seed: input should be greater than or equal to 0", ""),
        ("  steps: 10", "  steps: 10\ndevice: tpu", 10, "device: string should match pattern", ""),
    ],
)
def test_a_fault_is_named_with_its_line_and_a_way_out(
    tmp_path: Path, old: str, new: str, line: int, what: str, rest: str
) -> None:
    assert old in GOOD
    problem = only(tmp_path, GOOD.replace(old, new))
    assert what in problem.what
    place = f"{tmp_path / 'trial.yaml'}"
    assert problem.where == (f"{place}:{line}" if "missing" not in what else place) or problem.where.startswith(place)
    if "missing" not in what:
        assert problem.where == f"{place}:{line}"
    assert rest in str(problem)
    assert problem.exit_code == 2


def test_all_faults_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("bits: 5", "bitz: 5").replace("sequence", "sequnce").replace("- pos", "- scale")
    text = text.replace("  lr: 3e-3", "  lr: fast").replace("  steps: 10", "  step: 10")
    found = problems(tmp_path, text)
    lines = [int(problem.where.rpartition(":")[2]) for problem in found if problem.where[-1].isdigit()]
    assert lines == sorted(lines)
    said = "\n".join(str(problem) for problem in found)
    for words in ("'bitz'", "'sequnce'", "scale", "train.lr", "'step'", "steps is missing"):
        assert words in said


def test_more_tokens_than_the_context_fail_before_anything_is_fetched(tmp_path: Path) -> None:
    text = GOOD.replace("bit-xor, bits: 5", "bit-memory, bits: 1000").replace("name: sequence", "name: patch, size: 10")
    text = text.replace("per-position", "per-position, per_token: 10").replace("init: random", "init: pretrained")
    problem = only(tmp_path, text)
    assert problem.what == "600 tokens do not fit minilm-l6, which takes 512"
    assert problem.where.endswith("trial.yaml:2")
    assert "learned positions" in problem.why
    assert "larger patches" in problem.fix


def test_gpt2_has_its_own_scheme_and_a_causal_class_token_reads_nothing(tmp_path: Path) -> None:
    text = GOOD.replace("minilm-l6, init: random", "gpt2, init: 'random:scaled'").replace("bit-xor, bits: 5", "mnist")
    text = text.replace("sequence", "patch, size: 4, class_token: true").replace("per-position", "class-token")
    assert "has seen nothing" in only(tmp_path, text).what
    text = text.replace(", class_token: true", "")
    assert "there is none" in only(tmp_path, text).what


PROCEDURAL = ["cellular-automaton", "copy", "dyck", "reverse", "shuffle-dyck", "sort"]


@pytest.mark.parametrize("task", PROCEDURAL)
def test_labels_that_stand_in_the_sample_are_for_causal_bodies(tmp_path: Path, task: str) -> None:
    text = GOOD.replace("bit-xor, bits: 5", task).replace("minilm-l6", "transformer")
    problem = only(tmp_path, text, "body.causal=false")
    assert problem.what == "transformer sees the labels of this task"
    assert "looks ahead" in problem.why
    (tmp_path / "trial.yaml").write_text(text)
    assert load_recipe(tmp_path / "trial.yaml", ["body.causal=true"]).task.name == task
    assert load_recipe(tmp_path / "trial.yaml", ["body={name: lstm}", "freeze=body - ln"]).body.name == "lstm"


def test_too_few_samples_are_named_with_the_line_of_the_task(tmp_path: Path) -> None:
    problem = only(tmp_path, GOOD.replace("bit-xor, bits: 5", "copy, length: 2").replace("minilm-l6", "gpt2"))
    assert problem.where.endswith("trial.yaml:2")
    assert "copy makes only 10,000 different samples here" in problem.what


def test_a_body_without_weights_cannot_be_pretrained(tmp_path: Path) -> None:
    text = GOOD.replace("minilm-l6, init: random", "lstm, init: pretrained").replace("body - ln - pos", "body - ln")
    problem = only(tmp_path, text)
    assert problem.what == "lstm has no pretrained weights, and cannot start as 'pretrained'"
    assert problem.where.endswith("trial.yaml:4")


def test_a_fault_in_an_override_names_the_override(tmp_path: Path) -> None:
    problem = only(tmp_path, GOOD, "train.lr=fast")
    assert problem.where == "-o train.lr"


def test_a_fault_in_a_parent_names_the_parents_line(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(GOOD.replace("lr: 3e-3", "lr: no"))
    problem = only(tmp_path, "extends: parent.yaml\nname: child\n")
    assert problem.where == f"{tmp_path / 'parent.yaml'}:8"


def test_a_component_of_another_name_does_not_inherit_options(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(GOOD)
    child = "extends: parent.yaml\nname: child\ntask: {name: mnist}\n"
    child += "tokenizer: {name: patch, size: 4}\nhead: {name: mean}\n"
    (tmp_path / "child.yaml").write_text(child)
    recipe = load_recipe(tmp_path / "child.yaml")
    assert recipe.task.name == "mnist"
    assert recipe.train.lr == 0.003


def test_nothing_that_a_recipe_holds_is_executed(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    text = GOOD + f"tiny: !!python/object/apply:os.system ['touch {target}']\n"
    assert "tag" in only(tmp_path, text).what.lower() + only(tmp_path, text).why.lower()
    assert not target.exists()


def test_the_tiny_form_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "trial.yaml").write_text(GOOD + "tiny: {train: {stepz: 2}}\n")
    assert load_recipe(tmp_path / "trial.yaml").tiny
    with pytest.raises(RecipeError, match="stepz"):
        load_recipe(tmp_path / "trial.yaml", tiny=True)
    (tmp_path / "trial.yaml").write_text(GOOD)
    with pytest.raises(RecipeError, match="no tiny form"):
        load_recipe(tmp_path / "trial.yaml", tiny=True)


def test_the_digest_names_the_experiment(tmp_path: Path) -> None:
    (tmp_path / "trial.yaml").write_text(GOOD)

    def digest(*overrides: str) -> str:
        return load_recipe(tmp_path / "trial.yaml", overrides).digest()

    same = ("seed=3", "name=other", "threads=1", "train.optimizer=adam", "body.dropout=0.0", "tiny={train: {steps: 1}}")
    assert {digest(override) for override in same} == {digest()}
    others = ("train.lr=1e-3", "body.init='random:flat'", "freeze=none", "task.bits=4", "precision=bfloat16")
    assert len({digest(), *(digest(override) for override in others)}) == 1 + len(others)


def test_every_shipped_recipe_is_sound_and_says_what_it_is() -> None:
    assert len(shipped()) >= 7
    for name, path in shipped().items():
        recipe = load_recipe(path)
        assert recipe.name == name.replace("/", "-").replace("_", "-")
        assert load_recipe(path, tiny=True).train.steps == 2
        header = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
        for words in (f"xmodal train recipes/{name}.yaml", "two cores", "expect"):
            assert words in header, f"{name} does not say {words}"


def test_recipes_are_found_by_path_and_by_name(tmp_path: Path) -> None:
    assert find_recipe("quickstart") == find_recipe("quick-start".replace("-", "")) == shipped()["quickstart"]
    assert find_recipe("bit-xor-fpt") == shipped()["bit_xor_fpt"]
    assert find_recipe("lu2021-bit-memory-full") == shipped()["lu2021/bit_memory_full"]
    assert find_recipe(str(tmp_path / "x.yaml")) == tmp_path / "x.yaml"
    with pytest.raises(UsageError, match="did you mean 'quickstart'"):
        find_recipe("quickstrt")


def test_checking_does_not_load_torch(tmp_path: Path) -> None:
    (tmp_path / "trial.yaml").write_text(GOOD)
    code = f"import sys; from xmodal.recipe import load_recipe; load_recipe({str(tmp_path / 'trial.yaml')!r}); "
    code += "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_fault_in_the_tiny_form_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "trial.yaml"
    file.write_text(GOOD + "tiny:\n  train: {stepss: 3}\n  body: {layers: '0:99'}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(file, tiny=True)
    assert sorted((problem.where, problem.what) for problem in caught.value.problems) == [
        (f"{file}:11", "no key 'stepss' in train; did you mean 'steps'?"),
        (f"{file}:12", "layers '0:99' goes past the last block"),
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.lr", "1e38"),
        ("train.weight_decay", "1e300"),
        ("train.batch_size", "1000000000"),
        ("train.steps", "100000000000000000000"),
        ("threads", "100000000000000000000"),
    ],
)
def test_a_number_beyond_all_reason_is_refused(tmp_path: Path, key: str, value: str) -> None:
    error = only(tmp_path, GOOD, f"{key}={value}")
    assert error.where == f"-o {key}"
    assert error.what.startswith("input should be less than or equal to")
    assert error.fix


def test_strings_too_short_for_disjoint_splits_are_refused(tmp_path: Path) -> None:
    text = GOOD.replace("{name: bit-xor, bits: 5}", "{name: bit-memory, bits: 12, strings: 4}")
    text = text.replace("{name: sequence}", "{name: patch, size: 12}").replace(
        "{name: per-position}", "{name: per-position, per_token: 12}"
    )
    error = only(tmp_path, text)
    assert error.what == "4 strings of 12 bits are too few for three disjoint splits"
    assert error.fix == "set task.bits to at least 24"
    assert error.where == f"{tmp_path / 'trial.yaml'}:2"


def test_more_images_than_there_are_is_seen_before_training(tmp_path: Path) -> None:
    text = GOOD.replace("{name: bit-xor, bits: 5}", "{name: mnist, train: 60000, val: 30000}")
    text = text.replace("{name: sequence}", "{name: patch, size: 4}").replace("{name: per-position}", "{name: mean}")
    assert "validation leaves 30000" in problems(tmp_path, text)[0].what


def test_a_pixel_a_token_does_not_fit_minilm(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(shipped()["cifar_lra_fpt"], ["body={name: minilm-l6, init: random}"])
    (problem,) = caught.value.problems
    assert problem.what == "1024 tokens do not fit minilm-l6, which takes 512"


def test_a_path_is_known_by_what_lies_there(tmp_path: Path) -> None:
    from transformers import BertConfig

    folder = tmp_path / "model"
    BertConfig().save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"one")
    (tmp_path / "trial.yaml").write_text(GOOD.replace("init: random", f"path: {folder}"))
    digest = load_recipe(tmp_path / "trial.yaml").digest()
    moved = folder.rename(tmp_path / "moved")
    (tmp_path / "trial.yaml").write_text(GOOD.replace("init: random", f"path: {moved}"))
    assert load_recipe(tmp_path / "trial.yaml").digest() == digest
    (moved / "model.safetensors").write_bytes(b"two")
    assert load_recipe(tmp_path / "trial.yaml").digest() != digest


def test_a_fault_of_a_section_names_the_override_that_reaches_into_it(tmp_path: Path) -> None:
    error = only(tmp_path, GOOD, "head.per_token=7")
    assert error.where == f"{tmp_path / 'trial.yaml'}:6, -o head.per_token"
    assert "a divisor: 1, or tokenizer.size" in error.fix
    assert only(tmp_path, GOOD, "train.lr=-1").what == "input should be greater than 0, not -1"


def test_a_fault_in_a_file_of_the_task_stands_in_that_file_and_once(tmp_path: Path) -> None:
    data = tmp_path / "ragged.csv"
    data.write_text("seq,label\nAC,x\nAC,x,y\n")
    text = GOOD.replace("{name: bit-xor, bits: 5}", f"{{name: table, path: {data}, column: seq}}")
    error = only(tmp_path, text.replace("per-position", "mean"))
    assert error.where == f"{data}:3"
    assert error.what == "the row has 3 cells"


def test_a_fault_that_every_question_about_the_task_meets_is_told_once(tmp_path: Path) -> None:
    text = GOOD.replace("{name: bit-xor, bits: 5}", "{name: hub, dataset: a b, column: seq}")
    error = only(tmp_path, text.replace("per-position", "mean"))
    assert error.what == "'a b' cannot be a data set of the hub"


def test_the_runs_that_a_body_starts_from_are_looked_at(tmp_path: Path) -> None:
    run = tmp_path / "deep"
    text = GOOD.replace("init: random", f"init: 'run:{run}'")
    file = tmp_path / "trial.yaml"
    file.write_text(text)
    assert load_recipe(file).body.init == f"run:{run}"  # which may be made later
    run.mkdir()
    options = {"name": "minilm-l6", "init": "random", "layers": "0:2"}
    (run / "body.json").write_text(json.dumps({"options": options, "seed": 0, "trained_digest": "0" * 64}))
    problem = only(tmp_path, text)
    assert "another architecture" in problem.what
    assert "minilm-l6 with layers 0:2: depth 2 and not 6" in problem.why
    assert problem.where == f"{file}:4"


def test_a_part_must_be_one_of_the_body(tmp_path: Path) -> None:
    problem = only(tmp_path, GOOD.replace("init: random", "init: random, parts: {relpos: random}"))
    assert problem.what == "minilm-l6 has no relpos"
    assert problem.where == f"{tmp_path / 'trial.yaml'}:4"
    assert "attn" in problem.why
