"""What a recipe may say about a task, and the shapes that follow from it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from xmodal.components import Options
from xmodal.errors import UsageError
from xmodal.types import Classes, Continuous, PerPosition, SampleSpec, Symbols, TargetSpec


class TaskOptions(Options):
    """What a recipe may say about any task."""

    name: Any
    """Which task."""
    fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of the training samples that is used, drawn by seed; null takes all. Smaller shares lie within larger ones,
    and validation and test stay whole."""

    @property
    def stored(self) -> str:
        """The name under which the cache keeps its data; empty when samples are made here."""
        return ""

    @property
    def own_files(self) -> str:
        """The user's own file or folder that it reads; empty when there is none."""
        return getattr(self, "path", None) or ""

    def sample(self) -> SampleSpec:
        """What a sample is.

        Raises:
            UsageError: the options do not go together.
            MissingError: only the data can say, and they are not on this machine.
        """
        raise NotImplementedError

    def target(self) -> TargetSpec:
        """What a target is. Raises as `sample`."""
        raise NotImplementedError


class BitXorOptions(TaskOptions):
    """Bitwise XOR of two bit strings (Lu 2021, section 3.1), given as symbols.

    There are only 4^bits inputs. A quarter of them are held out for testing, an eighth for validation. What is learned
    on the rest may still be memorised position by position, since every position's four cases occur in training.
    """

    name: Literal["bit-xor"] = "bit-xor"
    """Which task."""
    bits: int = Field(default=5, ge=3, le=10)
    """Length of each string."""

    def sample(self) -> SampleSpec:
        """Two strings, one after the other."""
        return Symbols(vocabulary=2, max_length=2 * self.bits)

    def target(self) -> TargetSpec:
        """One bit for each position of a string."""
        return PerPosition(count=self.bits, classes=2)


_DISTINCT_BITS = 96
"""Bits at which, of 10^9 samples, two are alike with a probability below 10^-10."""


class BitMemoryOptions(TaskOptions):
    """Recall one of several bit strings from a copy with bits hidden (Lu 2021, section 3.1).

    Samples are drawn as they are asked for: the same seed, split and index always give the same sample.
    """

    name: Literal["bit-memory"] = "bit-memory"
    """Which task."""
    bits: int = Field(default=1000, ge=1, le=100_000)
    """Length of each string."""
    strings: int = Field(default=5, ge=1, le=1000)
    """Number of strings to remember."""
    hidden: float = Field(default=0.5, gt=0, lt=1)
    """Probability that a bit of the copy is hidden."""
    train: int = Field(default=100_000, ge=1, le=10**9)
    """Number of training samples."""
    val: int = Field(default=200, ge=1, le=10**6)
    """Number of validation samples."""
    test: int = Field(default=1000, ge=1, le=10**6)
    """Number of test samples."""

    def sample(self) -> SampleSpec:
        """The strings as rows of -1 and +1, then the copy with 0 for a hidden bit.

        Raises:
            UsageError: there are so few different samples that training, validation and test would share some.
        """
        if self.strings * self.bits < _DISTINCT_BITS:
            raise UsageError(
                f"{self.strings} strings of {self.bits} bits are too few for three disjoint splits",
                where="task.bits",
                why=f"samples are drawn at random, and below {_DISTINCT_BITS} bits in all some would come up twice",
                fix=f"set task.bits to at least {-(-_DISTINCT_BITS // self.strings)}",
            )
        return Continuous((self.strings + 1, self.bits))

    def target(self) -> TargetSpec:
        """Every bit of the string that was copied."""
        return PerPosition(count=self.bits, classes=2)


class ImageSetOptions(TaskOptions):
    """What the image sets share."""

    images: ClassVar[int]
    """Images in the official training set."""

    train: int | None = Field(default=None, ge=1, le=60_000)
    """Number of training samples; null takes all that validation leaves."""
    val: int = Field(default=5000, ge=1, le=30_000)
    """Number of validation samples, taken out of the training set by seed."""
    test: int | None = Field(default=None, ge=1, le=10_000)
    """Number of test samples; null takes all."""

    @property
    def stored(self) -> str:
        """The data set's name in the cache."""
        return self.name

    @property
    def grey(self) -> bool:
        """Whether colours are turned to grey."""
        return False

    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a sample."""
        raise NotImplementedError

    def sample(self) -> SampleSpec:
        """An image, each channel standardised with the mean and deviation of the training split.

        Raises:
            UsageError: more samples are asked for than there are.
        """
        if (self.train or 1) + self.val > self.images:
            raise UsageError(
                f"{self.train} training samples are asked for, and validation leaves {self.images - self.val}",
                where="task.train",
                fix="set task.train or task.val lower",
            )
        return Continuous(self.shape())

    def target(self) -> TargetSpec:
        """Ten classes."""
        return Classes(10)


class DigitsOptions(ImageSetOptions):
    """MNIST, or Fashion-MNIST: 28x28 grey images of ten classes, 60,000 to train and validate on, 10,000 to test on."""

    images = 60_000

    name: Literal["mnist", "fashion-mnist"]
    """Which of the two."""
    pad: int = Field(default=2, ge=0, le=14)
    """Black pixels added on each side; 2 gives the paper's 32x32."""

    def shape(self) -> tuple[int, int, int]:
        """One channel, with the border."""
        return 1, 28 + 2 * self.pad, 28 + 2 * self.pad


class Cifar10Options(ImageSetOptions):
    """CIFAR-10 (Krizhevsky 2009): 32x32 images of ten classes, 50,000 to train and validate on, 10,000 to test on.

    `cifar10` has three colours; the paper cuts it into 64 tokens of 4x4x3 numbers. `cifar10-lra` is grey, as in the
    Long Range Arena (Tay 2020): with patches of size 1 it is 1024 tokens of one pixel. Images are never augmented.
    """

    images = 50_000

    name: Literal["cifar10", "cifar10-lra"]
    """Which of the two."""

    @property
    def grey(self) -> bool:
        """Whether colours are turned to grey."""
        return self.name == "cifar10-lra"

    @property
    def stored(self) -> str:
        """The data set's name in the cache."""
        return "cifar10"

    def shape(self) -> tuple[int, int, int]:
        """Three channels, or one."""
        return (1 if self.grey else 3), 32, 32
