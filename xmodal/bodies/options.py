"""What a recipe may say about a body, and what can be known of it without its weights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from xmodal.bodies.description import read_description
from xmodal.components import Options
from xmodal.errors import MissingError, UsageError, did_you_mean
from xmodal.types import Site, layer_sites

RUN = "run:"


@dataclass(frozen=True)
class Anatomy:
    """The shape of a body.

    Attributes:
        family: `gpt2` or `bert`.
        width: length of a token's vector.
        heads: attention heads in a block.
        inner: width of the feed-forward layer.
        depth: blocks that the pretrained body has.
        layers: which of them this body keeps, in order.
        context: most tokens it takes.
        vocabulary: rows of its token embedding, which stays unused.
        types: rows of its token-type embedding, of which row 0 is added to every token; 0 when there is none.
        eps: of its layer norms.
    """

    family: Literal["gpt2", "bert"]
    width: int
    heads: int
    inner: int
    depth: int
    layers: tuple[int, ...]
    context: int
    vocabulary: int
    eps: float
    types: int = 0

    @property
    def causal(self) -> bool:
        """Whether a token sees only those before it."""
        return self.family == "gpt2"

    def sites(self) -> Iterator[Site]:
        """Every parameter tensor's site; equal to what the built body claims (a test compares them)."""
        layers = len(self.layers)
        yield Site("embed", part="token", used=False)
        yield Site("pos")
        if self.family == "gpt2":
            yield from layer_sites("attn", layers, ("qkv", "out"))
        else:
            yield Site("embed", part="type")
            yield Site("ln", part="embed")
            yield Site("ln", part="embed", kind="bias")
            yield from layer_sites("attn", layers, ("q", "k", "v", "out"))
        yield from layer_sites("ffn", layers, ("up", "down"))
        yield from layer_sites("ln", layers, ("attn", "ffn"))
        if self.family == "gpt2":
            yield Site("ln", part="final")
            yield Site("ln", part="final", kind="bias")


class BodyOptions(Options):
    """A transformer, how it starts, and how much of it is used."""

    inits: ClassVar[tuple[str, ...]] = ("pretrained", "random", "random:flat", "statistics", "permuted")

    name: Any
    """Which body."""
    init: str = "pretrained"
    """`pretrained`; `random`, the architecture's published scheme; `random:flat`, every matrix N(0, 0.02);
    `statistics`, random with each tensor's pretrained mean and deviation; `permuted`, the pretrained values shuffled
    within each tensor; `run:FOLDER`, the body that one of our own runs trained. GPT-2's `random` is also called
    `random:scaled`."""
    layers: str | None = None
    """Which blocks are kept, as a Python slice: `"0:6"` is the first six."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Rate of every dropout inside the body. The published experiments left GPT-2's own 0.1 on."""
    path: str | None = None
    """A local folder with `config.json` and `model.safetensors` in transformers' layout, instead of the weights that
    `xmodal get` keeps."""

    def anatomy(self) -> Anatomy:
        """The body's shape, from a table or from the `config.json` in `path`; no weights are read.

        Raises:
            UsageError: `layers` means nothing for this body, or the folder holds another architecture.
            MissingError: `path` has no `config.json`.
        """
        raise NotImplementedError

    def identity(self) -> dict[str, str]:
        """What says which body this is better than a path does: for `run:FOLDER`, the digest of the body in there."""
        if not self.init.startswith(RUN):
            return {}
        return {"init": RUN + read_description(Path(self.init.removeprefix(RUN)))["trained_digest"]}

    def check_init(self) -> None:
        """Nothing, if this body can start as `init` says.

        Raises:
            UsageError: it cannot; the message lists how it can.
        """
        if self.init not in self.inits and not self.init.startswith(RUN):
            raise UsageError(
                f"no init '{self.init}'{did_you_mean(self.init, self.inits)}",
                where="body.init",
                why=f"{self.name} can start as {', '.join(self.inits)} or {RUN}FOLDER",
            )

    def _with_layers(self, whole: Anatomy) -> Anatomy:
        return replace(whole, layers=_kept(self.layers, whole.depth, self.name))


class GPT2Options(BodyOptions):
    """GPT-2 (Radford 2019): causal, learned positions, layer norm before each part, query, key and value fused."""

    inits = (*BodyOptions.inits, "random:scaled")

    name: Literal["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"]
    """Which size."""

    def anatomy(self) -> Anatomy:
        """As `BodyOptions.anatomy`."""
        own = _GPT2_SIZES[self.name] if self.path is None else _read_gpt2(Path(self.path))
        return self._with_layers(own)


class BertOptions(BodyOptions):
    """BERT (Devlin 2018): every token sees every other, learned positions, layer norm after each part.

    `minilm-l6` is MiniLM (Wang 2020), 6 blocks of width 384, after a fine-tune for sentence embeddings.
    """

    name: Literal["minilm-l6"]
    """Which model."""

    def anatomy(self) -> Anatomy:
        """As `BodyOptions.anatomy`."""
        own = _MINILM_L6 if self.path is None else _read_bert(Path(self.path))
        return self._with_layers(own)


def _gpt2(width: int, heads: int, depth: int) -> Anatomy:
    return Anatomy("gpt2", width, heads, 4 * width, depth, tuple(range(depth)), 1024, 50257, 1e-5)


_GPT2_SIZES = {
    "gpt2": _gpt2(768, 12, 12),
    "gpt2-medium": _gpt2(1024, 16, 24),
    "gpt2-large": _gpt2(1280, 20, 36),
    "gpt2-xl": _gpt2(1600, 25, 48),
}
_MOST_BLOCKS = 1000
_MINILM_L6 = Anatomy("bert", 384, 12, 1536, 6, tuple(range(6)), 512, 30522, 1e-12, types=2)


def _kept(layers: str | None, depth: int, name: str) -> tuple[int, ...]:
    if layers is None:
        return tuple(range(depth))
    edge = r"\s*(-?\d{1,4})?\s*"
    match = re.fullmatch(f"{edge}(?::{edge}(?::{edge})?)?", layers)
    bounds = [int(text) if text else None for text in match.groups()] if match else []
    if not match or not layers.strip() or bounds[2:] == [0]:
        raise UsageError(
            f"layers '{layers}' is not a slice",
            where="body.layers",
            fix='write it as in Python: "0:6", "6:", "::2", "-1"',
        )
    start, stop, step = bounds
    if ":" not in layers:
        assert start is not None
        stop = start + 1 if start != -1 else None
    beyond = [edge for edge in (start, stop) if edge is not None and not -depth <= edge <= depth] or start == depth
    kept = tuple(range(depth)[start:stop:step])
    if beyond or not kept:
        raise UsageError(
            f"layers '{layers}' goes past the last block" if beyond else f"layers '{layers}' keeps no block",
            where="body.layers",
            why=f"{name} has {depth}, numbered 0 to {depth - 1}",
        )
    return kept


def _config(folder: Path, family: str, fixed: dict[str, Any]) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(
            f"no {file}", where="body.path", fix="give a folder with config.json and model.safetensors"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read as JSON", where="body.path", why=str(error)) from None
    if not isinstance(config, dict) or config.get("model_type") != family:
        found = config.get("model_type") if isinstance(config, dict) else None
        raise UsageError(
            f"{file} describes a {found!r}, not a {family}", where="body.path", fix="name a body of that kind"
        )
    other = {key: config[key] for key, value in fixed.items() if config.get(key, value) != value}
    if other:
        raise UsageError(
            f"{file} describes a variant that xmodal does not build",
            where="body.path",
            why=", ".join(f"{key} is {value!r}, not {fixed[key]!r}" for key, value in other.items()),
        )
    return config


def _size(config: dict[str, Any], key: str, default: int, most: int = 10_000_000) -> int:
    value = default if config.get(key) is None else config[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < most:
        raise UsageError(f"config.json says {key}: {value!r}, where a size should stand", where="body.path")
    return value


def _heads(config: dict[str, Any], key: str, width: int) -> int:
    heads = _size(config, key, 12)
    if width % heads:
        raise UsageError(
            f"config.json says {key}: {heads}, and a width of {width} cannot be shared evenly", where="body.path"
        )
    return heads


def _eps(config: dict[str, Any], key: str, default: float) -> float:
    value = default if config.get(key) is None else config[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise UsageError(f"config.json says {key}: {value!r}, where a small number should stand", where="body.path")
    return float(value)


def _read_gpt2(folder: Path) -> Anatomy:
    fixed = {"activation_function": "gelu_new", "scale_attn_weights": True, "add_cross_attention": False}
    fixed |= {"scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False}
    config = _config(folder, "gpt2", fixed)
    width, depth = _size(config, "n_embd", 768), _size(config, "n_layer", 12, _MOST_BLOCKS)
    return Anatomy(
        family="gpt2",
        width=width,
        heads=_heads(config, "n_head", width),
        inner=_size(config, "n_inner", 4 * width),
        depth=depth,
        layers=tuple(range(depth)),
        context=_size(config, "n_positions", 1024),
        vocabulary=_size(config, "vocab_size", 50257),
        eps=_eps(config, "layer_norm_epsilon", 1e-5),
    )


def _read_bert(folder: Path) -> Anatomy:
    fixed = {
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
    }
    config = _config(folder, "bert", fixed)
    width, depth = _size(config, "hidden_size", 768), _size(config, "num_hidden_layers", 12, _MOST_BLOCKS)
    return Anatomy(
        family="bert",
        width=width,
        heads=_heads(config, "num_attention_heads", width),
        inner=_size(config, "intermediate_size", 3072),
        depth=depth,
        layers=tuple(range(depth)),
        context=_size(config, "max_position_embeddings", 512),
        vocabulary=_size(config, "vocab_size", 30522),
        eps=_eps(config, "layer_norm_eps", 1e-12),
        types=_size(config, "type_vocab_size", 2),
    )
