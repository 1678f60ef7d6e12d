"""The official homes, through the libraries that know them: the Hugging Face hub, and torchvision."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from xmodal.errors import FULL, MissingError, UsageError, did_you_mean
from xmodal.sources.archives import unpack_tar
from xmodal.sources.catalogue import HF, TIMM, BodySource

TIMEOUT_S = 10.0
"""How long an official home may take to answer."""
_BINARY_CIFAR = "c32a1d4ab5d03f1284b67883e8d87530"
"""The authors' own md5 of the binary version."""
_FILES = ["config.json", "model.safetensors"]


class Snapshot(NamedTuple):
    """A repository of the hub on this disk; `sha256` is the hub's own word on `model.safetensors`, or empty."""

    folder: Path
    commit: str
    sha256: str


def from_hub(repository: str) -> Snapshot:
    """`config.json` and `model.safetensors` of a repository, downloaded, or out of the user's own hub cache.

    Raises:
        MissingError: the hub is out of reach and its cache does not have them.
        OSError: the disk is full.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        # Asked first because it has a timeout; the download itself has none.
        known = HfApi().model_info(repository, timeout=TIMEOUT_S, files_metadata=True)
    except Exception as error:  # its HTTP library's own errors, and that library changes with its versions
        if cached := _from_hub_cache(repository):
            return cached
        raise _unreachable(repository, error) from error
    try:
        place = Path(snapshot_download(repository, revision=known.sha, allow_patterns=_FILES))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise _unreachable(repository, error) from error
    sums = [file.lfs.sha256 for file in known.siblings or () if file.rfilename == _FILES[1] and file.lfs]
    return Snapshot(place, known.sha or "", sums[0] if sums else "")


def _from_hub_cache(repository: str) -> Snapshot | None:
    from huggingface_hub import snapshot_download

    try:
        place = Path(snapshot_download(repository, allow_patterns=_FILES, local_files_only=True))
    except OSError:
        return None
    if not all((place / file).is_file() for file in _FILES):
        return None
    # There a large file is a link to a blob that is named by its sha256.
    blob = (place / _FILES[1]).resolve().name
    return Snapshot(place, place.name, blob if len(blob) == 64 else "")


def from_torchvision(name: str, place: Path) -> Path:
    """The folder with the IDX files of torchvision's data set `name`, downloaded under `place`.

    Raises:
        MissingError: its home is out of reach.
        OSError: the disk is full.
    """
    from torchvision import datasets

    if name == "CIFAR10":
        return _binary_cifar(place)
    try:
        with _timeout():
            getattr(datasets, name)(place, download=True)
    except (RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise MissingError(f"torchvision could not download {name}", why=_in_a_line(error)) from error
    return place / name / "raw"


def _binary_cifar(place: Path) -> Path:
    """The folder of CIFAR-10's binary version, from where torchvision gets the pickled one, which is not read here."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_url

    archive = place / "binary.tar.gz"
    try:
        with _timeout():
            download_url(CIFAR10.url.replace("python", "binary"), place, archive.name, md5=_BINARY_CIFAR)
    except (RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise MissingError("torchvision could not download CIFAR10", why=_in_a_line(error)) from error
    unpacked = place / "binary"
    unpacked.mkdir()
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    unpack_tar(archive, {f"cifar-10-batches-bin/{name}": (unpacked / name, 1 << 25) for name in names})
    return unpacked


def of_hub(name: str) -> BodySource:
    """Where the weights of `hf:ORG/NAME` are; its architecture is whatever its configuration says.

    Raises:
        UsageError: the hub has no such names.
    """
    repository = name.removeprefix(HF)
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", repository, re.ASCII):
        raise UsageError(f"'{repository}' is no name of the hub", why="a name is ORG/NAME", fix="hf:ORG/NAME")
    return BodySource(f"{repository}, of the Hugging Face hub", "as its page on the hub says", repository, "")


def of_timm(name: str) -> BodySource:
    """Where the weights of a model of timm are: `timm:vit_tiny_patch16_224`, or one with the tag of its weights.

    Without a tag they are those of timm's own choice; the hub is empty when timm has no weights of that model.

    Raises:
        UsageError: timm has no such model, or no such weights of it.
    """
    import timm

    model = name.removeprefix(TIMM)
    architecture, _, tag = model.partition(".")
    refuse_unknown(model)
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        why = f"it has {', '.join(tags) or 'none'}"
        what = f"timm has no weights '{tag}' of {architecture}{did_you_mean(tag, tags)}"
        raise UsageError(
            what, why=why, fix=f"name one of these behind a dot, or {TIMM}{architecture} for timm's choice"
        )
    default = timm.get_pretrained_cfg(architecture)
    tag = tag or (default.tag if default else "") or ""
    hub = f"timm/{architecture}.{tag}" if tag in tags else ""
    return BodySource(f"{model}, of timm's collection", "as its page on the hub says", hub, architecture)


def refuse_unknown(model: str, where: str = "") -> None:
    """Nothing, if timm has a model of that name, with or without the tag of its weights.

    Raises:
        UsageError: it has none.
    """
    import timm

    if not timm.is_model(model):
        near = did_you_mean(model.partition(".")[0], timm.list_models())
        fix = "import timm; timm.list_models() names all that it has"
        raise UsageError(f"timm has no model '{model}'{near}", where=where, fix=fix)


def _unreachable(repository: str, error: Exception) -> MissingError:
    return MissingError(f"the Hugging Face hub did not give {repository}", why=_in_a_line(error))


def _in_a_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join([f"{type(error).__name__}:", *dict.fromkeys([*lines[:1], *lines[-1:]])])


@contextmanager
def _timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
