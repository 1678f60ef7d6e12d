"""`xmodal reproduce`, `list papers`, `show` and `report --against` as a user calls them."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from xmodal import cli

Call = Callable[..., tuple[int, str, str]]
TINY = ("lu2021/table2", "--task", "bit-xor", "--tiny", "-o", "threads=1")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def called(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main([*words])
        said = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, said.out, said.err

    return called


def test_a_table_is_run_shown_and_not_run_again(call: Call, tmp_path: Path) -> None:
    words = ("reproduce", "--workers", "0", *TINY, "--out", str(tmp_path))
    code, out, err = call(*words)
    assert code == 0, err
    for said in ("language on bit-xor", "theirs", "ours %", "less theirs", "differences from the paper", "ViT keeps"):
        assert said in out
    assert "legacy.sampled_evaluation" in out
    assert "\x1b" not in out
    assert "4 runs were made now" in err
    code, again, err = call(*words)
    assert (code, again) == (0, out)
    assert "0 runs were made now" in err
    code, out, _ = call(*words, "--json")
    (file,) = tmp_path.glob("reproductions/*/table.json")
    assert json.loads(out) == json.loads(file.read_text())
    code, out, _ = call("report", str(tmp_path), "--against", "lu2021/table2")
    assert code == 0
    assert "but for task.bits" in " ".join(out.split())
    code, out, _ = call("report", str(tmp_path), "--against", "lu2021/table2", "--json")
    assert {cell["row"] for cell in json.loads(out)["cells"] if cell["seeds"]} == {
        "language",
        "random",
        "bit-memory",
        "vision",
    }


@pytest.mark.parametrize("scale", ["cpu", "full"])
@pytest.mark.parametrize("protocol", ["published", "audited"])
def test_listops_reads_512_tokens_in_its_tiny_form_too(call: Call, tmp_path: Path, scale: str, protocol: str) -> None:
    words = ("lu2021/table2", "--task", "listops", "--row", "random", "--tiny", "-o", "threads=1", "--seeds", "1")
    code, out, err = call(
        "reproduce", "--workers", "0", *words, "--scale", scale, "--protocol", protocol, "--out", str(tmp_path)
    )
    assert code == 0, err
    assert ("legacy.listops_tokens" in out) == (protocol == "published")


def test_a_dry_run_costs_nothing(call: Call, tmp_path: Path) -> None:
    words = ("reproduce", "lu2021/table2", "--dry-run", "--out", str(tmp_path / "runs"))
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    assert "missing here: xmodal get body minilm-l6" in out
    assert "first: lu2021-bit-memory-full-cpu" in out
    assert "train.steps: 600000, here 200 (cifar10-lra)" in out
    said = json.loads(call(*words, "--json", "--scale", "full")[1])
    assert len(said["cells"]) == 28
    assert "xmodal get body gpt2, from the hub" in said["missing"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("lu2021/tabel2",), 2, "did you mean 'table2'?"),
        (("lu20/table2",), 2, "no paper 'lu20'"),
        (("lu2021/table11",), 2, "lu2021/table11 has no recipes"),
        (("lu2021/table2", "--task", "bitxor"), 2, "did you mean 'bit-xor'?"),
        (("lu2021/table2", "--row", "rendom"), 2, "did you mean 'random'?"),
        (("lu2021/table2", "--scale", "full", "--task", "bit-xor"), 3, "xmodal get body gpt2, from the hub"),
        (("lu2021/table14",), 3, "xmodal get data cifar10"),
        ((*TINY, "-o", "train.lr=fast"), 2, "-o train.lr"),
        ((*TINY, "--seeds", "0"), 2, "0 seeds are none or too many"),
    ],
)
def test_what_cannot_be_run_is_explained(call: Call, words: tuple[str, ...], code: int, said: str) -> None:
    found, out, err = call("reproduce", *words)
    assert (found, out) == (code, "")
    assert said in " ".join(err.split())
    assert "fix:" in err


@pytest.mark.parametrize("words", [("--scale", "gpu"), ("--protocol", "ours")])
def test_no_such_scale_or_protocol(call: Call, words: tuple[str, ...]) -> None:
    code, _, err = call("reproduce", "--workers", "0", *TINY, *words)
    assert code == 2
    assert "is not one of" in " ".join(err.split())


def test_papers_are_listed_and_shown(call: Call) -> None:
    rows = json.loads(call("list", "papers", "--json")[1])
    assert {row["table"] for row in rows} >= {"lu2021/table2", "rothermel2021/table1"}
    assert {row["cells with a recipe"] for row in rows if row["table"] == "lu2021/table2"} == {"28 of 28"}
    code, out, _ = call("show", "lu2021/table16")
    assert code == 0
    assert "lu2021/cifar10_frozen_ln_random" in out
    assert "not checked against" in " ".join(out.split())
    out = call("show", "rothermel2021/table1")[1]
    assert "54.7 ±1.4" in out
    assert "-o body.init=random -o freeze=none" in " ".join(out.split())
    assert "between 1e-5 and 1e-3" in " ".join(call("show", "rothermel2021")[1].split())
    code, _, err = call("show", "lu2021/tabel2")
    assert (code, "did you mean 'table2'" in err) == (2, True)
    code, _, err = call("show", "lu2021/mnist_fpt")
    assert (code, "is a recipe, not a component" in err) == (2, True)


def test_a_failed_cell_ends_with_code_1(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xmodal.run import session

    monkeypatch.setattr(session, "train", lambda *_, **__: [][0])
    code, out, _ = call("reproduce", "--workers", "0", *TINY, "--out", str(tmp_path))
    assert code == 1
    assert "failed: IndexError" in out


def test_an_interrupt_leaves_what_there_is(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xmodal.run import session

    real, runs = session.train, []

    def train(*given: object, **said: object) -> object:
        if runs:
            raise KeyboardInterrupt
        runs.append(1)
        return real(*given, **said)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(session, "train", train)
        code, out, err = call("reproduce", "--workers", "0", *TINY, "--out", str(tmp_path))
    assert code == 130
    assert "its column has not run to its end" in " ".join(out.split())
    assert "the same command goes on" in err
    code, out, err = call("reproduce", "--workers", "0", *TINY, "--out", str(tmp_path))
    assert (code, "has not run to its end" in out) == (0, False)
    assert "3 runs were made now" in err


def test_who_says_no_runs_nothing(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: False)
    code, out, err = call("reproduce", "--workers", "0", *TINY, "--out", str(tmp_path))
    assert (code, out, err.splitlines()[-1]) == (0, "", "nothing was run")
    assert call("reproduce", "--workers", "0", *TINY, "--out", str(tmp_path), "--yes")[0] == 0
