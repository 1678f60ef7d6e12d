"""The users' own images: a folder for each class."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xmodal.errors import DamagedError, MissingError, UsageError
from xmodal.tasks.labels import at_least_two, classes_of, existing, inside, numbers_of, refuse_unclear, split_of
from xmodal.tasks.numbers import deviation_of
from xmodal.tasks.options import TaskOptions
from xmodal.types import SPLITS, Classes, Continuous, SplitName, TargetSpec

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from xmodal.types import Split, Task

_SUFFIXES = {".jpeg", ".jpg", ".png"}
_UNREAD = {".avif", ".bmp", ".gif", ".heic", ".jfif", ".jp2", ".jpe", ".tif", ".tiff", ".webp"}
_PIXELS = 1 << 26
"""Most pixels that an image may have: a small file can unpack into a huge one."""
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
"""The tag of EXIF that says how an image is to be turned, and those of its values that exchange width and height."""
_AWAY = "take it out of the folder, or put a whole one in its place"


class ImagesOptions(TaskOptions):
    """Your own PNG or JPEG images, a folder for each class.

    `path` has folders `train`, `val` and `test`, each with a folder for each class; or the folders of the classes
    alone, and the images are split by seed and shares. `valid`, `validation` and `dev` stand for `val`, too.
    """

    name: Literal["images"] = "images"
    """Which task."""
    path: str
    """The folder."""
    mode: Literal["grey", "rgb"] = "rgb"
    """What images are turned into. An image is turned as its EXIF orientation says; one with transparent pixels is
    refused, since what shows through them is not in the file."""
    resize: int | None = Field(default=None, ge=1, le=4096)
    """Side of the square that every image is scaled to; null takes images as they are, and all must have one size."""
    val: float = Field(default=0.1, gt=0, lt=1)
    """Share that is validation, drawn by seed, where there are no folders of splits."""
    test: float = Field(default=0.1, gt=0, lt=1)
    """Share that is the test split, drawn by seed, where there are no folders of splits."""

    def sample(self) -> Continuous:
        """Channels, height and width; the first image says them, or `resize`."""
        if self.resize:
            height = width = self.resize
        else:
            width, height = size_of(self.files("train")[0])
        return Continuous((1 if self.mode == "grey" else 3, height, width))

    def target(self) -> TargetSpec:
        """The names of the folders, in order."""
        return Classes(at_least_two(self.classes(), self.path))

    def has_splits(self) -> bool:
        """Whether `path` holds the three splits, or classes alone."""
        return self._splits().keys() == {*SPLITS}

    def _splits(self) -> dict[SplitName, Path]:
        place = existing(self.path, "folder of images")
        if not place.is_dir():
            raise UsageError(f"{place.name} is not a folder", where=str(place), fix="give the folder of the classes")
        found: dict[SplitName, Path] = {}
        for folder in _folders(place):
            if (split := split_of(folder.name)) and found.setdefault(split, folder) != folder:
                why = f"{found[split].name} and {folder.name} both stand for {split}"
                raise UsageError(f"two folders for {split}", where=str(place), why=why, fix="leave one")
        return found

    def classes(self) -> list[str]:
        """Names of the folders of training, in order.

        Raises:
            UsageError: one has no images, or leads out of the folder.
        """
        outer = Path(self.path).expanduser()
        folders = inside(_folders(_root(self._splits(), "train", outer)), outer)
        empty = [folder for folder in folders if not any(map(_is_image, folder.iterdir()))]
        if 0 < len(empty) < len(folders):
            what, fix = f"the folder {empty[0].name} has no images", "put some there, or remove it"
            raise UsageError(what, where=str(empty[0]), why="a folder is a class", fix=fix)
        refuse_unclear([folder.name for folder in folders], list(map(str, folders)))
        return classes_of([folder.name for folder in folders])

    def files(self, split: SplitName) -> list[Path]:
        """The images of a split, or all where there are no folders of splits.

        Raises:
            MissingError: there are none.
            UsageError: one leads out of the folder, or is of a kind that is not read.
        """
        there, outer = self._splits(), Path(self.path).expanduser()
        root = _root(there, split, outer)
        folders = inside(_folders(root), outer)
        every = inside((file for folder in folders for file in sorted(folder.iterdir())), outer)
        found = [file for file in every if _is_image(file)]
        if not found:
            lacking = [name for name in SPLITS if name not in there]
            half = f"{root} has no {' and no '.join(lacking)}, so its folders are taken for classes"
            why = half if 0 < len(lacking) < len(SPLITS) else "a class is a folder of images"
            fix = f"give {' '.join(SPLITS)}, each with a folder for every class, or the folders of classes alone"
            raise MissingError("no PNG or JPEG images", where=str(root), why=why, fix=fix)
        loose = [
            file for file in sorted({*root.iterdir(), *outer.iterdir()}) if not file.is_dir() and _is_named_so(file)
        ]
        if root != outer:
            loose += [folder for folder in _folders(outer) if folder not in there.values()]
        passed = [file for file in every if _is_named_so(file) or (file.is_dir() and _visible(file))]
        if away := [*loose, *(file for file in passed if not _is_image(file))]:
            raise UsageError(
                f"{away[0].name} would be passed over",
                where=str(away[0]),
                why=f"a class is a folder of PNG or JPEG images; {len(away)} images or folders are elsewhere or others",
                fix="make them .png or .jpg images in the folder of their class, or take them out",
            )
        return found


def _root(splits: Mapping[SplitName, Path], split: SplitName, outer: Path) -> Path:
    """The folder of a split's classes: its own, or where there are not three splits the whole."""
    return splits[split] if len(splits) == len(SPLITS) else outer


def size_of(file: Path) -> tuple[int, int]:
    """Width and height of an image as it is looked at, from its header.

    Raises:
        DamagedError: it is no PNG or JPEG image.
        UsageError: it has too many pixels.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=("PNG", "JPEG")) as image:
                width, height = image.size
                if _turns(image) and image.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE:
                    width, height = height, width
    except Image.DecompressionBombError:
        raise UsageError("the image has far too many pixels", where=str(file), fix="make it smaller") from None
    except (OSError, SyntaxError, ValueError) as error:
        what = f"{file.name} is not a PNG or JPEG image"
        raise DamagedError(what, where=str(file), why=str(error), fix=_AWAY) from None
    if width * height > _PIXELS:
        what = f"an image of {width}x{height} has too many pixels"
        raise UsageError(what, where=str(file), why=f"{_PIXELS} are the most", fix="make it smaller")
    return width, height


def read_image(file: Path, mode: Literal["grey", "rgb"], resize: int | None) -> np.ndarray:
    """An image as unsigned bytes, `[channels height width]`. Raises as `size_of`, and when its pixels are damaged."""
    import numpy as np
    from PIL import Image, ImageOps

    size_of(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=("PNG", "JPEG")) as opened:
                image = ImageOps.exif_transpose(opened) if _turns(opened) else opened
                if image.has_transparency_data:
                    _refuse_transparent(image, file)
                if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip to 8
                    image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
                seen = image.convert("L" if mode == "grey" else "RGB")
    except (OSError, SyntaxError, ValueError) as error:
        what = f"the pixels of {file.name} cannot be read"
        raise DamagedError(what, where=str(file), why=str(error), fix=_AWAY) from None
    if resize:
        seen = seen.resize((resize, resize), Image.Resampling.BILINEAR)
    pixels = np.asarray(seen)
    return pixels[None] if mode == "grey" else pixels.transpose(2, 0, 1)


def build(options: ImagesOptions, seed: int) -> Task:
    """The task of these options, standardised for each channel by training.

    Raises:
        MissingError: there are no images.
        DamagedError: one cannot be read.
        UsageError: two have different sizes, or a class is in no training sample.
    """
    import numpy as np

    from xmodal.tasks.held import HeldTask, Stacked, by_shares

    if options.has_splits():
        files: dict[SplitName, list[Path]] = {name: options.files(name) for name in SPLITS}
        first = files["train"][0]
    else:
        every = options.files("train")
        parts = by_shares(len(every), options.val, options.test, seed, options.path)
        files = {name: [every[index] for index in part] for name, part in parts.items()}
        first = every[0]
    _refuse_mixed([file for part in files.values() for file in part], first, options.resize)
    trained = {file.parent.name for file in files["train"]}
    classes = [name for name in options.classes() if name in trained]
    labels: dict[SplitName, np.ndarray] = {
        name: numbers_of([file.parent.name for file in part], classes, where=f"{options.path} ({name})")
        for name, part in files.items()
    }
    pixels: dict[SplitName, np.ndarray] = {
        name: np.stack([read_image(file, options.mode, options.resize) for file in part])
        for name, part in files.items()
    }
    mean = pixels["train"].mean(axis=(0, 2, 3), keepdims=True)[0]
    deviation = deviation_of(pixels["train"], (0, 2, 3))[:, None, None]
    splits: dict[SplitName, Split] = {
        name: Stacked(array, labels[name], mean, deviation) for name, array in pixels.items()
    }
    return HeldTask(options, seed, splits, labels)


def _turns(image: Image.Image) -> bool:
    """Whether its header may say so; to look further, all of its pixels would be read."""
    return "exif" in image.info


def _refuse_transparent(image: Image.Image, file: Path) -> None:
    if min(image.convert("RGBA").getchannel("A").tobytes()) < 255:
        raise UsageError(
            f"{file.name} has transparent pixels",
            where=str(file),
            why="what shows through them is not in the file, and would be made up",
            fix="lay it on a background of your choice, and save it without transparency",
        )


def _folders(root: Path) -> list[Path]:
    return sorted(place for place in root.iterdir() if place.is_dir() and _visible(place))


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in _SUFFIXES and file.is_file()


def _is_named_so(place: Path) -> bool:
    return place.suffix.lower() in _SUFFIXES | _UNREAD


def _visible(place: Path) -> bool:
    return not place.name.startswith(".")


def _refuse_mixed(files: list[Path], first: Path, resize: int | None) -> None:
    if resize:
        return
    width, height = size_of(first)
    for file in files:
        if (size := size_of(file)) != (width, height):
            raise UsageError(
                f"images have different sizes: {first.name} {width}x{height}, {file.name} {size[0]}x{size[1]}",
                where=str(file),
                why=f"the first is {first}",
                fix="set task.resize to the side that all shall have",
            )
