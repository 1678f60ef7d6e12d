"""What a recipe may say about a tokenizer, and how many tokens it makes of a sample."""

from __future__ import annotations

import math
from typing import Literal, Protocol

from pydantic import Field

from xmodal.components import Options
from xmodal.errors import UsageError
from xmodal.types import Continuous, Geometry, Letters, SampleSpec, Symbols

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
InputInit = Literal["orthogonal", "normal", "norm-matched"]


class TokenizerOptions(Protocol):
    """Options of any tokenizer."""

    @property
    def name(self) -> str:
        """The tokenizer's name in the table."""
        ...

    @property
    def init(self) -> InputInit:
        """How the input layer starts."""
        ...

    @property
    def std(self) -> float:
        """Deviation of the weights under `init: normal`."""
        ...

    @property
    def class_token(self) -> bool:
        """Whether a learned token stands in front."""
        ...

    @property
    def order(self) -> Literal["shuffled"] | None:
        """In which order the body meets the tokens."""
        ...

    def geometry(self, sample: SampleSpec) -> Geometry:
        """How many tokens a sample becomes, and of what."""
        ...


def _reader(sample: SampleSpec) -> str:
    match sample:
        case Continuous(shape=shape) if len(shape) in (2, 3):
            return "use tokenizer patch"
        case Continuous():
            return "make each sample a picture or rows of numbers, or add a tokenizer of your own"
        case Letters():
            return "use tokenizer amino-acid"
        case Symbols(fixed=True):
            return "use tokenizer sequence or patch"
    return "use tokenizer sequence"


class InputOptions(Options):
    """What every tokenizer with one input layer takes, beside its `init`."""

    std: float = Field(default=0.1, gt=0)
    """Deviation of the weights under `init: normal`. Language bodies know token embeddings of 0.02 to 0.15."""
    class_token: bool = False
    """Put one learned token in front, for the head `class-token`."""
    order: Literal["shuffled"] | None = None
    """`shuffled`: the body meets the tokens of every sample in one other order, which the seed draws, and the head
    reads what it says of each where that stood. A control: what a body knows of neighbours is then of no use."""

    def counted(self, tokens: int, **what: int) -> Geometry:
        """The geometry of so many tokens of data: with the class token, and `inputs` numbers or a `vocabulary` each."""
        prefix = int(self.class_token)
        return Geometry(tokens + prefix, prefix, **what)


class PatchOptions(InputOptions):
    """Cut images into squares, and rows of numbers into pieces, left to right and top to bottom; a linear input layer.

    Symbols may enter this way too: as numbers from -1 to 1, `size` of them in a token.
    """

    name: Literal["patch"] = "patch"
    """Which tokenizer."""
    size: int = Field(ge=1)
    """Side of the squares in pixels, or length of the pieces."""
    init: InputInit = "orthogonal"
    """`orthogonal` with gain sqrt(2) and no bias (Lu 2021); `normal` with deviation `std`; `norm-matched`, so that an
    input of unit variance enters with the root mean square of the body's own token embedding."""

    def geometry(self, sample: SampleSpec) -> Geometry:
        """As `TokenizerOptions.geometry`.

        Raises:
            UsageError: the patches do not fill the sample, or it is not made of numbers.
        """
        match sample:
            case Continuous(shape=(channels, height, width)):
                self._must_fill(f"an image of {height}x{width}", height, width)
                return self.counted((height // self.size) * (width // self.size), inputs=channels * self.size**2)
            case Continuous(shape=(rows, length)):
                self._must_fill(f"rows of {length} numbers", length)
                return self.counted(rows * (length // self.size), inputs=self.size)
            case Symbols(max_length=length, fixed=True):
                self._must_fill(f"a sequence of {length} symbols", length)
                return self.counted(length // self.size, inputs=self.size)
        raise UsageError(
            "patch cannot cut samples of this task",
            why=f"they are {sample}",
            fix=_reader(sample),
        )

    def _must_fill(self, what: str, *lengths: int) -> None:
        if length := next((length for length in lengths if length % self.size), 0):
            near = [size for size in range(1, length + 1) if math.gcd(*lengths) % size == 0]
            raise UsageError(
                f"patches of {self.size} do not fill {what}",
                why=f"{length} is not a multiple of {self.size}",
                fix=f"set tokenizer.size to one of {', '.join(map(str, near))}",
            )


class SequenceOptions(InputOptions):
    """One token for each symbol; an embedding is the input layer."""

    name: Literal["sequence"] = "sequence"
    """Which tokenizer."""
    init: InputInit = "normal"
    """`normal` with deviation `std`; `orthogonal` rows of norm sqrt(2); `norm-matched` to the root mean square of the
    body's own token embedding."""

    def geometry(self, sample: SampleSpec) -> Geometry:
        """As `TokenizerOptions.geometry`.

        Raises:
            UsageError: the samples are not symbols.
        """
        if not isinstance(sample, Symbols):
            raise UsageError(
                "sequence reads symbols, and this task has none",
                why=f"its samples are {sample}",
                fix=_reader(sample),
            )
        return self.counted(sample.max_length, vocabulary=sample.vocabulary)


class AminoAcidOptions(InputOptions):
    """One token for each residue: 20 letters, X for all other letters, padding where the sequence has ended."""

    name: Literal["amino-acid"] = "amino-acid"
    """Which tokenizer."""
    init: InputInit = "normal"
    """As for `sequence`."""

    def geometry(self, sample: SampleSpec) -> Geometry:
        """As `TokenizerOptions.geometry`; the vocabulary is padding, the 20 letters and X.

        Raises:
            UsageError: the samples are not letters.
        """
        if not isinstance(sample, Letters):
            raise UsageError(
                "amino-acid reads letters, and this task has none",
                why=f"its samples are {sample}",
                fix=_reader(sample),
            )
        return self.counted(sample.max_length, vocabulary=len(AMINO_ACIDS) + 2)
