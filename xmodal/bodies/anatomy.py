"""The shape of a body, from a table or from a `config.json`. Needs no torch and reads no weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xmodal.errors import MissingError, UsageError
from xmodal.sources.bodies import refuse_own_code

MOST_BLOCKS = 1000
OTHER = "give the folder of a model that xmodal builds"
NO_FAMILY = "take another model, or add its family as a body with a name of its own: see the how-to 'Add a body'"


@dataclass(frozen=True)
class Anatomy:
    """The shape of a body.

    Attributes:
        family: the architecture, in the words of its configuration: `gpt2`, `bert`.
        width: length of a token's vector.
        depth: blocks that the pretrained body has.
        causal: whether a token sees only itself and those before it.
        context: most tokens it takes; None when nothing limits them.
        heads: attention heads in a block; 0 when there is no attention.
        inner: width of the feed-forward layer; 0 when there is none.
        vocabulary: rows of its token embedding, which stays unused; 0 when there is none.
        eps: of its layer norms; 0 when there are none.
        prefix: tokens of its own that it puts in front: a class token, registers.
        layers: the blocks that this body keeps, in order.
        details: what only this architecture has.
    """

    family: str
    width: int
    depth: int
    causal: bool
    context: int | None = None
    heads: int = 0
    inner: int = 0
    vocabulary: int = 0
    eps: float = 0.0
    prefix: int = 0
    layers: tuple[int, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


def apart(theirs: Anatomy, ours: Anatomy, keys: Iterable[str]) -> list[str]:
    """`width 32 and not 384` for each of the keys in which two shapes differ."""
    pairs = {key: (getattr(theirs, key), getattr(ours, key)) for key in keys}
    return [f"{key} {one} and not {other}" for key, (one, other) in pairs.items() if one != other]


def model_type(folder: Path) -> str:
    """What the `config.json` in `folder` calls its architecture.

    Raises:
        MissingError: there is no `config.json`.
        UsageError: it is not the configuration of a model, or of one that brings code of its own.
    """
    config = read_object(folder / "config.json")
    refuse_own_code(config, folder / "config.json")
    found = config.get("model_type")
    if not isinstance(found, str):
        raise UsageError(f"{folder / 'config.json'} names no model_type", where="body.path", fix=OTHER)
    return found


def read_config(
    folder: Path, family: str, fixed: Mapping[str, Any], renamed: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The `config.json` of a model of that `family`.

    Args:
        folder: where it is.
        family: the architecture.
        fixed: the values that xmodal builds.
        renamed: other names of keys, which transformers reads as well (its `attribute_map`).

    Raises:
        MissingError: there is no `config.json`.
        UsageError: it describes another architecture, or a variant that is not built.
    """
    file = folder / "config.json"
    config = read_object(file)
    if config.get("model_type") != family:
        raise UsageError(
            f"{file} describes a {config.get('model_type')!r}, not a {family}",
            where="body.path",
            fix="name a body of that kind",
        )
    for alias, key in (renamed or {}).items():
        if config.get(alias) is not None:
            if config.get(key, config[alias]) != config[alias]:
                what = f"{file} says {key}: {config[key]!r} and {alias}: {config[alias]!r}, which are one"
                raise UsageError(what, where="body.path", fix="leave one of them")
            config[key] = config[alias]
    other = {key: config[key] for key, value in fixed.items() if config.get(key, value) != value}
    if other:
        raise UsageError(
            f"{file} describes a variant that xmodal does not build",
            where="body.path",
            why=", ".join(f"{key} is {value!r}, not {fixed[key]!r}" for key, value in other.items()),
            fix=OTHER,
        )
    return config


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a `config.json`.

    Raises:
        MissingError: there is no such file.
        UsageError: it is no JSON object.
    """
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(
            f"no {file}", where="body.path", fix="give a folder with config.json and model.safetensors"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read as JSON", where="body.path", why=str(error), fix=OTHER) from None
    if not isinstance(config, dict):
        raise UsageError(f"{file} describes a None, not a model", where="body.path", fix="name a body of that kind")
    return config


def size(config: Mapping[str, Any], key: str, default: int, most: int = 10_000_000) -> int:
    """A whole number over 0 that stands under `key`, or the default of the configuration's own class.

    Raises:
        UsageError: it is no such number.
    """
    value = default if config.get(key) is None else config[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < most:
        raise UsageError(f"config.json says {key}: {value!r}, where a size should stand", where="body.path", fix=OTHER)
    return value


def heads(config: Mapping[str, Any], key: str, width: int) -> int:
    """A number of heads that shares `width` evenly.

    Raises:
        UsageError: it does not.
    """
    number = size(config, key, 12)
    if width % number:
        raise UsageError(
            f"config.json says {key}: {number}, and a width of {width} cannot be shared evenly",
            where="body.path",
            fix=OTHER,
        )
    return number


def must_share(heads: int, width: int) -> None:
    """Nothing, if the heads that a recipe asks for share its width evenly.

    Raises:
        UsageError: they do not.
    """
    if width % heads:
        raise UsageError(
            f"{heads} heads cannot share a width of {width} evenly",
            where="body.heads",
            fix="set body.heads to a divisor of body.width",
        )


def number(config: Mapping[str, Any], key: str, default: float, below: float = 1.0) -> float:
    """A number over 0 and under `below`.

    Raises:
        UsageError: it is no such number.
    """
    value = default if config.get(key) is None else config[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < below:
        what = f"config.json says {key}: {value!r}, where a number between 0 and {below:g} should stand"
        raise UsageError(what, where="body.path", fix=OTHER)
    return float(value)
