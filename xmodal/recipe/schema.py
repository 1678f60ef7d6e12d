"""What a recipe may say. Field docstrings are the reference, the JSON schema and the help."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PrivateAttr, SerializeAsAny, field_validator, model_validator

from xmodal.bodies import BODIES
from xmodal.components import Entry, Options, load, lookup
from xmodal.heads import HEADS
from xmodal.recipe.legacy import LegacyOptions
from xmodal.tasks import TASKS
from xmodal.tokenizers import TOKENIZERS

if TYPE_CHECKING:
    from xmodal.bodies.options import BodyOptions as BodyField
    from xmodal.heads.options import HeadOptions as HeadField
    from xmodal.tasks.options import TaskOptions as TaskField
    from xmodal.tokenizers.options import TokenizerOptions as TokenizerField
else:
    # Which options are meant depends on the name, which `recipe.check` looks up in the tables.
    TaskField = TokenizerField = BodyField = HeadField = SerializeAsAny[Any]

VARIABLE = "XMODAL_PRECISION"
"""What of the environment says which precision `auto` is, for machines that must agree."""
COMPONENTS: dict[str, dict[str, Entry]] = {"task": TASKS, "tokenizer": TOKENIZERS, "body": BODIES, "head": HEADS}


class TrainOptions(Options):
    """How the trainable parameters are trained. One loop serves all recipes."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """`adam` and `adamw` with betas 0.9 and 0.999, `sgd` with momentum 0.9. It is given trainable parameters only."""
    lr: float = Field(gt=0, le=1000, json_schema_extra={"synonyms": ["learning_rate"]})
    """Learning rate; sweep it before you believe a result."""
    batch_size: int = Field(default=32, ge=1, le=65_536)
    """Samples in a step."""
    steps: int = Field(ge=1, le=10**9, json_schema_extra={"synonyms": ["iterations", "max_steps"]})
    """Most steps that are taken."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Course of the rate after warm-up; `cosine` falls to zero at `steps`."""
    warmup: int = Field(default=0, ge=0)
    """Steps over which the rate rises linearly from zero."""
    weight_decay: float = Field(default=0.0, ge=0, le=100)
    """Decay of trainable matrices of the body and the output layer; the input layer, norms, biases, positions and
    embeddings are left out."""
    clip_norm: float | None = Field(default=1.0, gt=0, json_schema_extra={"synonyms": ["grad_clip", "clip"]})
    """Largest norm of the gradient over all trainable parameters; null does not clip."""
    accumulate: int | None = Field(default=None, ge=2, json_schema_extra={"synonyms": ["gradient_accumulation_steps"]})
    """Parts of a batch that are computed one after another and make one step; less memory, the same step but for
    rounding and dropout. null takes a batch at once."""
    group_by_length: bool | None = None
    """Whether samples of similar length share a batch, where a task's samples differ in length; less padding, and
    another order than without. null is the same as false."""
    eval_every: int = Field(default=50, ge=1)
    """Steps between looks at the validation split; a checkpoint is written at each."""
    eval_batch_size: int = Field(default=64, ge=1, le=65_536)
    """Samples in an evaluation batch. It changes speed and memory, not scores."""
    score_train: int | None = Field(default=None, ge=1)
    """Samples of those it was trained on that are predicted as well, once, when test is: `train` in the result. They
    are drawn by seed; all where there are no more. null predicts none."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many looks without a better validation accuracy; null never does."""

    @field_validator("group_by_length")
    @classmethod
    def _as_ever(cls, said: bool | None) -> bool | None:
        return said or None  # what changes nothing is not said, so that it changes no digest

    @model_validator(mode="after")
    def _parts_have_samples(self) -> TrainOptions:
        if (self.accumulate or 1) > self.batch_size:
            raise ValueError(f"accumulate: {self.accumulate} parts of a batch of {self.batch_size} would be empty")
        return self


class Lock(Options):
    """What a lock file holds beyond the recipe: the versions and bytes that a run was made with."""

    versions: dict[str, str]
    """Versions of xmodal and of the packages that make its numbers."""
    digests: dict[str, str]
    """SHA-256 of the body's values and of each split."""
    threads: int = Field(ge=1, le=4096)
    """CPU threads that the run used."""
    tiny: bool = False
    """Whether it was the tiny form of its recipe, whose scores say nothing."""


NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What a recipe, and so a run, may be called."""


class Recipe(Options):
    """One experiment."""

    name: str = Field(pattern=NAME)
    """Names the run folder: letters, digits, dots, dashes."""
    task: TaskField
    """What is asked."""
    tokenizer: TokenizerField
    """How a sample enters."""
    body: BodyField
    """The transformer."""
    freeze: str = "body - ln - pos"
    """What is frozen, in the freeze language. The default is Lu 2021's frozen pretrained transformer."""
    head: HeadField
    """How a label is read."""
    train: TrainOptions
    """How it is trained."""
    precision: Literal["auto", "float32", "float32-fused", "bfloat16", "bf16-frozen"] = "auto"
    """Arithmetic. `float32` is the model as its library computes it; `float32-fused` computes its activations in one
    step, equal but for rounding; `bf16-frozen` also holds frozen matrices in bfloat16 and multiplies in it, within the
    body; `bfloat16` is torch's autocast for all of it. Trainable parameters, norms and what blocks add up are float32
    always. `auto` is `bf16-frozen` where that is measured to be faster, once for each machine, and else `float32`."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    """`auto` is the first GPU if there is one, else the CPU."""
    compile: bool = False
    """Whether the model goes through torch.compile; on a GPU with CUDA graphs."""
    gradient_checkpointing: bool | None = None
    """Whether blocks are computed again in the backward pass, in place of keeping what they said: less memory, the same
    numbers, more time. null is the same as false."""
    cache: bool | None = None
    """Whether what comes out of all that is frozen below the lowest that trains is computed once for each sample and
    kept. null does so wherever it is a function of the sample, and true is the same; false never does."""
    threads: int | None = Field(default=None, ge=1, le=4096)
    """CPU threads; null takes torch's default. Runs repeat bit for bit with the same number."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Draws data, split, order, input layer, head, random body and dropout, each from a stream of its own."""
    legacy: LegacyOptions | None = None
    """Known faults of published code, to measure what each does. None is on unless it is named here."""
    tiny: dict[str, Any] = Field(default_factory=dict)
    """Overrides that make the recipe run in seconds, for `--tiny`: the same path on next to nothing."""
    lock: Lock | None = None
    """Written by a run into `recipe.lock.yaml`; a recipe that has it must meet it."""
    _shrunk: bool = PrivateAttr(default=False)

    @property
    def is_tiny(self) -> bool:
        """Whether this is the tiny form of a recipe, or the lock file of one."""
        return self._shrunk or (self.lock is not None and self.lock.tiny)

    def shrunk(self) -> Recipe:
        """The same recipe, known as the tiny form that it is."""
        recipe = self.model_copy()
        recipe._shrunk = True
        return recipe

    @field_validator("cache")
    @classmethod
    def _never(cls, said: bool | None) -> bool | None:
        return False if said is False else None  # true is what null does

    @field_validator("gradient_checkpointing")
    @classmethod
    def _as_ever(cls, said: bool | None) -> bool | None:
        return said or None  # what changes nothing is not said, so that it changes no digest

    @field_validator("legacy")
    @classmethod
    def _no_switch(cls, said: LegacyOptions | None) -> LegacyOptions | None:
        return said if said and said.words else None  # all off is not said, so that it changes no digest

    @property
    def faults(self) -> list[str]:
        """A sentence for each switch of `legacy` that is on."""
        return self.legacy.words if self.legacy else []

    def digest(self) -> str:
        """Identifies the experiment: everything that can change its numbers, the seed and the versions left out.

        What is null counts as not said, so that an option which is added later changes no recipe that lacks it.
        """
        said = self.model_dump(mode="json", exclude={"name", "seed", "threads", "tiny", "lock"}, exclude_none=True)
        said["body"] |= self.body.identity()
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def options_class(section: str, name: str) -> type[Options] | None:
    """The options of the component `name` of a section, or None when there is none of that name."""
    entry = lookup(section, COMPONENTS[section], name)
    return load(entry.options) if entry else None


def json_schema() -> dict[str, Any]:
    """The JSON schema of a recipe file, for editors and `xmodal schema`."""
    schema = Recipe.model_json_schema()
    definitions, properties = schema.setdefault("$defs", {}), schema["properties"]
    whole: dict[str, Any] = {"train": properties["train"]}
    parts: dict[str, Any] = {"train": {"$ref": "#/$defs/PartOfTrainOptions"}}
    definitions["PartOfTrainOptions"] = _part(definitions["TrainOptions"])
    for section, table in COMPONENTS.items():
        names = {load(entry.options): None for entry in table.values()}
        for options in names:
            definitions[options.__name__] = options.model_json_schema()
            definitions["PartOf" + options.__name__] = _part(definitions[options.__name__])
        # Several components may share a set of options, or leave their name to the recipe that is extended.
        whole[section] = {"anyOf": [{"$ref": f"#/$defs/{options.__name__}"} for options in names]}
        parts[section] = {"anyOf": [{"$ref": f"#/$defs/PartOf{options.__name__}"} for options in names]}
        properties[section] = {"description": properties[section]["description"]}
    properties["train"] = {"description": properties["train"]["description"]}
    properties["extends"] = {"type": "string", "description": "A recipe that this one starts from."}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "xmodal recipe"
    # A recipe that extends another may leave everything to it.
    schema["if"] = {"required": ["extends"]}
    schema["then"] = {"properties": parts}
    schema["else"] = {"properties": whole, "required": schema.pop("required")}
    return schema


def _part(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of some of the keys."""
    return {key: value for key, value in schema.items() if key != "required"}
