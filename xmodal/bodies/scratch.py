"""What a recipe may say about a body that nobody has pretrained: it starts at random, or as a run of ours left it."""

from __future__ import annotations

from xmodal.bodies.description import RUN
from xmodal.bodies.options import BodyOptions
from xmodal.errors import UsageError


class ScratchOptions(BodyOptions):
    """A body of our own making, of any size, without published weights."""

    inits = ("random", "random:flat")

    init: str = "random"
    """`random`, the scheme that its architecture was published with; `random:flat`, every matrix N(0, 0.02);
    `run:FOLDER`, the body that one of our own runs trained. There are no pretrained weights."""
    path: str | None = None
    """Nothing: this body has no weights that a folder could hold."""

    def check_init(self) -> None:
        """As `BodyOptions.check_init`; what needs pretrained weights is refused."""
        if self.path is not None:
            raise UsageError(
                f"{self.name} reads no folder",
                where="body.path",
                why="it has no pretrained weights, and its own options give its shape",
                fix=f"leave path out; a run of ours is named with init: {RUN}FOLDER",
            )
        said = {"init": self.init, **{f"parts.{role}": init for role, init in (self.parts or {}).items()}}
        for where, init in said.items():
            if init in BodyOptions.inits and init not in self.inits:
                raise UsageError(
                    f"{self.name} has no pretrained weights, and cannot start as '{init}'",
                    where=f"body.{where}",
                    why=f"it can start as {', '.join(self.inits)} or {RUN}FOLDER",
                    fix="set init: random, or train one with freeze: none and name its folder",
                )
        super().check_init()
