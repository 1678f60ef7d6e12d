"""How a sample enters: tokenizers turn raw samples into tokens of the body's width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmodal.components import Entry, build

if TYPE_CHECKING:
    from xmodal.tokenizers.input_layer import InputLayer
    from xmodal.tokenizers.options import TokenizerOptions
    from xmodal.types import SampleSpec, Tokenizer

TOKENIZERS: dict[str, Entry] = {
    "amino-acid": Entry("xmodal.tokenizers.options:AminoAcidOptions", "xmodal.tokenizers.amino_acid:AminoAcid"),
    "patch": Entry("xmodal.tokenizers.options:PatchOptions", "xmodal.tokenizers.patch:Patch"),
    "sequence": Entry("xmodal.tokenizers.options:SequenceOptions", "xmodal.tokenizers.sequence:Sequence"),
}


def build_tokenizer(options: TokenizerOptions, sample: SampleSpec, layer: InputLayer) -> Tokenizer:
    """The tokenizer for samples of that kind, on top of that input layer."""
    return build("tokenizer", TOKENIZERS, options.name, options, sample, layer)
