"""Folders of images: sizes, classes, splits, and every bad file named."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xmodal.errors import DamagedError, MissingError, UsageError
from xmodal.tasks import build_task, image_folder
from xmodal.tasks.image_folder import ImagesOptions
from xmodal.types import Classes, Continuous, Task


def save(file: Path, value: int = 0, size: tuple[int, int] = (6, 4)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value // 2, 9)).save(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in ("train", "val", "test"):
        for number, name in enumerate(("cat", "dog")):
            save(tmp_path / "own" / split / name / "1.png", 200 * number)
            save(tmp_path / "own" / split / name / "2.jpg", 200 * number)
    return tmp_path / "own"


def images(path: Path, seed: int = 0, **said: object) -> Task:
    return build_task(ImagesOptions.model_validate({"path": str(path), **said}), seed)


def test_the_task_is_what_it_says(folder: Path) -> None:
    task = images(folder)
    assert (task.sample, task.target) == (Continuous((3, 4, 6)), Classes(2))
    batch = task.split("test").batch(torch.arange(4))
    assert batch.samples.shape == (4, 3, 4, 6)
    assert batch.targets.tolist() == [0, 0, 1, 1]
    assert batch.samples[:, 0].mean(dim=(1, 2)).sign().tolist() == [-1, -1, 1, 1]
    assert task.floors() == {"majority": 0.5}
    assert images(folder, mode="grey", resize=5).split("val").batch(torch.arange(1)).samples.shape == (1, 1, 5, 5)


def test_one_folder_is_split_by_seed(tmp_path: Path) -> None:
    for number in range(20):
        save(tmp_path / "ab"[number % 2] / f"{number}.png", number)
    task = images(tmp_path, val=0.2, test=0.2)
    assert [len(task.split(name)) for name in ("train", "val", "test")] == [12, 4, 4]
    assert task.split("test").digest() == images(tmp_path, val=0.2, test=0.2).split("test").digest()
    assert task.split("test").digest() != images(tmp_path, 1, val=0.2, test=0.2).split("test").digest()


def test_mixed_sizes_name_two_files(folder: Path) -> None:
    save(folder / "val" / "dog" / "odd.png", size=(8, 8))
    with pytest.raises(UsageError, match=r"1\.png 6x4, odd\.png 8x8") as error:
        images(folder)
    assert "task.resize" in error.value.fix
    assert images(folder, resize=4).sample == Continuous((3, 4, 4))


def test_a_class_that_training_lacks(folder: Path) -> None:
    save(folder / "test" / "eel" / "1.png")
    with pytest.raises(UsageError, match="training never saw the label 'eel'") as error:
        images(folder)
    assert error.value.exit_code == 2


def test_a_corrupt_image_is_named(folder: Path) -> None:
    (folder / "train" / "dog" / "bad.png").write_bytes(b"no image")
    with pytest.raises(DamagedError, match=r"bad\.png is not a PNG or JPEG image"):
        images(folder)
    noise = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(noise).save(folder / "train" / "dog" / "bad.png")
    whole = (folder / "train" / "dog" / "bad.png").read_bytes()
    (folder / "train" / "dog" / "bad.png").write_bytes(whole[:70])
    with pytest.raises(DamagedError, match=r"the pixels of bad.png cannot be read") as error:
        images(folder)
    assert error.value.exit_code == 3


def test_paths_that_leave_the_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    save(tmp_path / "secret.png")
    (folder / "train" / "cat" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(UsageError, match="leads out of the folder"):
        images(folder)


def test_images_with_too_many_pixels_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_folder, "_PIXELS", 20)
    with pytest.raises(UsageError, match="6x4 has too many pixels"):
        images(folder)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such folder of images") as error:
        ImagesOptions(path="nowhere").sample()
    assert error.value.exit_code == 3
    with pytest.raises(MissingError, match="no PNG or JPEG images"):
        ImagesOptions(path=str(tmp_path)).sample()


def test_sixteen_bits_become_eight_without_clipping(tmp_path: Path) -> None:
    file = tmp_path / "deep.png"
    Image.fromarray(np.array([[0, 257, 32896, 65535]], dtype=np.uint16)).save(file)
    for mode, channels in (("grey", 1), ("rgb", 3)):
        pixels = image_folder.read_image(file, mode, None)  # type: ignore[arg-type]
        assert pixels.tolist() == [[[0, 1, 128, 255]]] * channels


def test_only_the_training_split_sets_the_scale(folder: Path) -> None:
    before = images(folder).split("train").batch(torch.arange(4)).samples
    assert before.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    for split in ("val", "test"):
        save(folder / split / "cat" / "1.png", 255)
    assert torch.equal(images(folder).split("train").batch(torch.arange(4)).samples, before)


@pytest.mark.parametrize("word", ["valid", "validation", "dev"])
def test_validation_has_several_words(folder: Path, word: str) -> None:
    (folder / "val").rename(folder / word)
    assert [len(images(folder).split(name)) for name in ("train", "val", "test")] == [4, 4, 4]
    save(folder / "Val" / "cat" / "1.png")
    with pytest.raises(UsageError, match="two folders for val"):
        images(folder)


def test_a_split_of_another_name_is_said(folder: Path) -> None:
    (folder / "val").rename(folder / "eval")
    with pytest.raises(MissingError, match="no PNG or JPEG images") as caught:
        images(folder)
    assert "has no val, so its folders are taken for classes" in caught.value.why


@pytest.mark.parametrize(
    ("odd", "named"),
    [
        ("train/cat/a.webp", "train/cat/a.webp"),
        ("train/cat/a.jpe", "train/cat/a.jpe"),
        ("train/cat/more/a.png", "train/cat/more"),
        ("train/loose.png", "train/loose.png"),
        ("loose.jpg", "loose.jpg"),
        ("extra/a.png", "extra"),
    ],
)
def test_images_that_would_be_passed_over_are_told(folder: Path, odd: str, named: str) -> None:
    (folder / odd).parent.mkdir(exist_ok=True)
    (folder / odd).write_bytes(b"")
    (folder / "README.txt").write_text("what these are")
    with pytest.raises(UsageError, match="would be passed over") as error:
        images(folder)
    assert error.value.where == str(folder / named)


def test_a_pipe_that_is_called_an_image_is_told(folder: Path) -> None:
    os.mkfifo(folder / "train" / "cat" / "a.png")
    with pytest.raises(UsageError, match=r"a\.png would be passed over"):
        images(folder)


def test_classes_that_are_numbers_go_by_value(folder: Path) -> None:
    names = sorted((folder / "train").iterdir())
    for split in ("train", "val", "test"):
        for name, number in zip([place.name for place in names], ("10", "9"), strict=True):
            (folder / split / name).rename(folder / split / number)
    assert ImagesOptions(path=str(folder)).classes() == ["9", "10"]


def test_a_folder_without_images_is_no_class(folder: Path) -> None:
    (folder / "train" / "bird").mkdir()
    with pytest.raises(UsageError, match="the folder bird has no images"):
        images(folder)


def test_folders_that_look_alike_are_refused(folder: Path) -> None:
    (folder / "train" / "cat").rename(folder / "train" / "cate\u0301")
    with pytest.raises(UsageError, match="has an accent apart from its letter"):
        images(folder)


def test_transparent_pixels_are_refused_and_opaque_ones_are_not(folder: Path) -> None:
    for alpha in (255, 200):
        Image.new("RGBA", (6, 4), (7, 7, 7, alpha)).save(folder / "train" / "cat" / "a.png")
        if alpha == 255:
            images(folder)
    with pytest.raises(UsageError, match=r"a\.png has transparent pixels"):
        images(folder)


def test_an_image_is_turned_as_it_is_looked_at(folder: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(6, 4) * 10
    exif = Image.Exif()
    exif[0x0112] = 6
    file = folder / "train" / "cat" / "a.png"
    Image.fromarray(pixels).save(file, exif=exif)
    assert image_folder.size_of(file) == (6, 4)
    assert np.array_equal(image_folder.read_image(file, "grey", None)[0], np.rot90(pixels, -1))
    images(folder)


def test_images_are_scaled_linearly(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "a.png")
    assert 0 < image_folder.read_image(tmp_path / "a.png", "grey", 4)[0, 0, 1] < 255
