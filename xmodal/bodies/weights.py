"""Gives a body its values: pretrained, random, or from a run of ours. Every tensor is accounted for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from xmodal import sources
from xmodal.bodies import init, skeleton
from xmodal.bodies.body import Body
from xmodal.bodies.description import RUN
from xmodal.bodies.family import STD
from xmodal.bodies.lineage import check_parts
from xmodal.bodies.options import BodyOptions
from xmodal.errors import DamagedError, MissingError, XmodalError
from xmodal.types import Site


class Weighted(NamedTuple):
    """A body with its values.

    Attributes:
        body: ready to run.
        token_rms: root mean square of the token embedding that the body learned, or would start with.
        source: where the values come from, for the run folder.
    """

    body: Body
    token_rms: float
    source: dict[str, str]


class Values(NamedTuple):
    """The values of a body's used parameters by site, the size of its token embedding, and where both come from."""

    tensors: dict[Site, Tensor]
    token_rms: float
    source: dict[str, str]


def build_body(options: BodyOptions, seed: int, device: torch.device | str = "cpu") -> Weighted:
    """A body whose every used parameter has its value, on `device`, in float32.

    A random body touches neither the network nor the cache.

    Raises:
        UsageError: this body has no such init, or nothing in a role of `parts`.
        MissingError: its weights are not on this machine.
        DamagedError: the weights are not those that were fetched, or do not fit the architecture.
    """
    options.check_init()
    body = skeleton(options)
    tensors, token_rms, source = _values(options, body, seed)
    check_parts(options, tensors)
    for role, init_ in (options.parts or {}).items():
        grafted = {site for site in tensors if site.role == role}
        try:
            other = _values(options.model_copy(update={"init": init_, "parts": None}), body, seed)
        except XmodalError as error:
            error.where = f"body.parts.{role}" if error.where == "body.init" else error.where
            raise
        tensors = tensors | {site: other.tensors[site] for site in grafted}
        source = source | {f"parts.{role}": other.source["source"]}
    fill(body, tensors, device)
    return Weighted(body, token_rms, {**source, "digest": digest(tensors)})


def _values(options: BodyOptions, body: Body, seed: int) -> Values:
    scheme, _, variant = options.init.partition(":")
    if scheme + ":" == RUN:
        from xmodal.bodies.artifact import run_body

        return run_body(options)
    if scheme == "random":
        tensors = {}
        for site, parameter in body.claims():
            if site.used:
                draw = body.family.draw(site, tuple(parameter.shape))
                draw = init.flat(site, draw) if variant == "flat" else draw
                tensors[site] = init.random_tensor(site, parameter.shape, draw, seed)
        return Values(tensors, _deviation(body, variant), {"source": options.init})
    folder = Path(options.path) if options.path else _fetched(options.name)
    try:
        tensors, token_rms = read_pretrained(folder / "model.safetensors", body)
    except DamagedError as error:
        if not options.path:
            error.fix = f"fetch it again: {sources.command('bodies', options.name)} --force"
        raise
    source = {"source": options.path or options.name, **sources.provenance(folder)}
    change = {"statistics": init.matched_tensor, "permuted": init.permuted_tensor}.get(scheme)
    if change:
        tensors = {site: change(site, tensor, seed) for site, tensor in tensors.items()}
        source["changed"] = f"{scheme} with seed {seed}"
    return Values(tensors, token_rms, source)


def _fetched(name: str) -> Path:
    if name not in sources.BODIES and ":" not in name:
        raise MissingError(
            f"nothing says where the weights of {name} come from",
            where="body",
            why="it is a body of a plugin",
            fix="put them in a folder with their config.json, as transformers saves it, and say -o body.path=FOLDER",
        )
    return sources.verified("bodies", name)


def _deviation(body: Body, variant: str) -> float:
    """Of the token embedding that a random body would start with; 0.02 where it has none."""
    for site, parameter in body.claims():
        if not site.used and site.role == "embed":
            draw = body.family.draw(site, tuple(parameter.shape))
            return init.deviation(init.flat(site, draw) if variant == "flat" else draw)
    return STD


def read_pretrained(file: Path, body: Body) -> tuple[dict[Site, Tensor], float]:
    """The tensors of a checkpoint by site, in float32, and the root mean square of its token embedding.

    Raises:
        MissingError: there is no such file.
        DamagedError: a tensor is missing, twice there or claimed by nobody, has another shape, or numbers that are
            not real or not finite.
    """
    wanted = {str(body.source_names[parameter]): (site, parameter.shape) for site, parameter in body.claims()}
    try:
        with safe_open(file, framework="pt") as checkpoint:
            family, names = body.family, list(checkpoint.keys())
            prefix = next((start for start in family.prefixes if any(name.startswith(start) for name in names)), "")
            if twice := [name for name in names if prefix and prefix + name in names]:
                what = f"the checkpoint has {twice[0]} twice, once as {prefix}{twice[0]}"
                raise DamagedError(what, where=str(file), fix="save it again with one of them")
            by_name = {_today(name.removeprefix(prefix), family.renamed): name for name in names}
            _account_for(file, wanted, by_name, body)
            tensors = {}
            token_rms = STD
            for name, (site, shape) in wanted.items():
                tensor = _real(file, name, checkpoint.get_tensor(by_name[name]), shape)
                if site.used:
                    tensors[site] = tensor
                elif site.role == "embed" and tensor.ndim > 1:
                    token_rms = _token_rms(tensor)
    except FileNotFoundError:
        raise MissingError(
            f"no {file}", why="a body's weights are in it", fix="the folder needs config.json and model.safetensors"
        ) from None
    except (SafetensorError, OSError) as error:
        fix = "save the model again, or fetch it again"
        raise DamagedError("not a safetensors file", where=str(file), why=str(error), fix=fix) from None
    return tensors, token_rms


def _token_rms(embedding: Tensor) -> float:
    """Of a table of tokens; of a patch embedding, that of the tokens of independent pixels of unit variance."""
    inputs = embedding[0].numel() if embedding.ndim > 2 else 1
    return float(embedding.square().mean().mul(inputs).sqrt())


def _real(file: Path, name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    if not tensor.is_floating_point():
        raise DamagedError(
            f"{name} holds {tensor.dtype}, not real numbers",
            where=str(file),
            why="a quantised checkpoint, perhaps",
            fix="use one in float32, float16 or bfloat16",
        )
    if tensor.shape != shape:
        raise DamagedError(
            f"{name} has the shape {tuple(tensor.shape)}, not {tuple(shape)}",
            where=str(file),
            why="config.json and model.safetensors belong to different models",
            fix="give a folder in which they belong together",
        )
    number = tensor.float()
    if not number.isfinite().all():
        why, fix = "a model with such numbers has no finite loss at any rate", "save the model again, or fetch it again"
        raise DamagedError(f"{name} has numbers that are not finite", where=str(file), why=why, fix=fix)
    return number


def _account_for(file: Path, wanted: dict, by_name: dict[str, str], body: Body) -> None:
    kept = set(body.anatomy.layers)
    missing = sorted(wanted.keys() - by_name.keys())
    spare = [name for name in sorted(by_name.keys() - wanted.keys()) if not _ignored(name, body.family.ignored)]
    dropped = {name for name in body.source_names.values() if name not in wanted}
    spare = [name for name in spare if name not in dropped]
    if missing or spare:
        what = [
            f"lacks {', '.join(missing[:4])}" if missing else "",
            f"has unknown {', '.join(spare[:4])}" if spare else "",
        ]
        raise DamagedError(
            f"the checkpoint {' and '.join(filter(None, what))}",
            where=str(file),
            why=f"{len(missing)} tensors missing and {len(spare)} that nobody claims; {len(kept)} blocks are kept",
            fix="use a checkpoint of this architecture",
        )


def _today(name: str, renamed: tuple[tuple[str, str], ...]) -> str:
    """The name that a tensor has today, from the one in an old checkpoint."""
    return next((name.removesuffix(old) + new for old, new in renamed if name.endswith(old)), name)


def _ignored(name: str, patterns: tuple[str, ...]) -> bool:
    return any(name.endswith(pattern) or name.startswith(pattern) for pattern in patterns)


def fill(body: Body, tensors: dict[Site, Tensor], device: torch.device | str) -> None:
    """Puts values in the place of a skeleton's parameters; unused ones stay on the meta device, without memory."""
    values = {parameter: tensors[site] for site, parameter in body.claims() if site.used}
    for module in body.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter in values:
                setattr(module, name, nn.Parameter(values[parameter].to(device), requires_grad=parameter.requires_grad))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(device))


def digest(tensors: Mapping[Site, Tensor]) -> str:
    """SHA-256 over the names and values of all tensors, as float32, in the order of their names."""
    state = hashlib.sha256()
    for site, tensor in sorted(tensors.items(), key=lambda item: str(item[0])):
        state.update(str(site).encode())
        state.update(tensor.detach().cpu().float().contiguous().view(torch.uint8).numpy().data)
    return state.hexdigest()
