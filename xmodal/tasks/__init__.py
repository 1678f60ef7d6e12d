"""What is asked: tasks with three disjoint splits, targets and floors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from xmodal.components import Entry, build, made_by

if TYPE_CHECKING:
    from xmodal.tasks.options import TaskOptions
    from xmodal.types import Task

_BRACKETS = Entry("xmodal.tasks.procedural_options:BracketsOptions", "xmodal.tasks.procedural:Procedural")
_CIFAR = Entry("xmodal.tasks.options:Cifar10Options", "xmodal.tasks.images:ImageSet")
_REWRITE = Entry("xmodal.tasks.procedural_options:RewriteOptions", "xmodal.tasks.procedural:Procedural")

TASKS: dict[str, Entry] = {
    "bit-memory": Entry("xmodal.tasks.options:BitMemoryOptions", "xmodal.tasks.bits:BitMemory"),
    "bit-xor": Entry("xmodal.tasks.options:BitXorOptions", "xmodal.tasks.bits:BitXor"),
    "cellular-automaton": Entry(
        "xmodal.tasks.procedural_options:CellularAutomatonOptions", "xmodal.tasks.procedural:Procedural"
    ),
    "cifar10": _CIFAR,
    "cifar10-lra": replace(_CIFAR, about="CIFAR-10 as Long Range Arena asks it: in grey, a pixel a token (Tay 2020)"),
    "copy": replace(_REWRITE, about="Random symbols, a separator, and the symbols again (Shinnick 2025, identity)"),
    "dyck": replace(_BRACKETS, about="Brackets that close in order, the next one to be told (Shinnick 2025, k-Dyck)"),
    "fashion-mnist": Entry("xmodal.tasks.options:DigitsOptions", "xmodal.tasks.images:ImageSet"),
    "haystack": Entry("xmodal.tasks.procedural_options:HaystackOptions", "xmodal.tasks.procedural:Procedural"),
    "hub": Entry("xmodal.tasks.hub:HubOptions", "xmodal.tasks.table:build"),
    "images": Entry("xmodal.tasks.image_folder:ImagesOptions", "xmodal.tasks.image_folder:build"),
    "listops": Entry("xmodal.tasks.listops:ListOpsOptions", "xmodal.tasks.listops:build"),
    "mnist": Entry("xmodal.tasks.options:DigitsOptions", "xmodal.tasks.images:ImageSet"),
    "remote-homology": Entry("xmodal.tasks.homology:RemoteHomologyOptions", "xmodal.tasks.homology:build"),
    "reverse": replace(_REWRITE, about="Random symbols, a separator, and the symbols backwards (Shinnick 2025)"),
    "series": Entry("xmodal.tasks.series:SeriesOptions", "xmodal.tasks.series:build"),
    "shuffle-dyck": replace(
        _BRACKETS,
        about="Brackets whose kinds close independently, the next one to be told (Shinnick 2025, k-Dyck shuffle)",
    ),
    "sort": replace(_REWRITE, about="Random symbols, a separator, and the symbols in order (Shinnick 2025)"),
    "table": Entry("xmodal.tasks.table:TableOptions", "xmodal.tasks.table:build"),
}


def build_task(options: TaskOptions, seed: int, *, without_brackets: bool = False, read_padding: bool = False) -> Task:
    """The task with the samples and splits of `seed`.

    Args:
        options: what a recipe says.
        seed: draws what is drawn.
        without_brackets: for `listops` only, as `legacy.listops_tokens` says.
        read_padding: as `legacy.read_padding` says.

    Raises:
        MissingError: its data are not on this machine.
        XmodalError: a plugin builds it, and it is not what its options say.
    """
    said = {"without_brackets": True} if without_brackets else {}
    task = build("task", TASKS, options.name, options, seed, **said)
    if options.name not in TASKS:
        from xmodal.tasks.keeping import hold

        hold(task, options, made_by("task", options.name))
    if not read_padding:
        return task
    from xmodal.tasks.padding import ReadsPadding

    return ReadsPadding(task)
