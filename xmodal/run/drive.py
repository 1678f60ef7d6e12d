"""Who computes the gradients that runs ask for: each run by itself, or several in one pass through a shared body."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from math import inf
from time import perf_counter
from typing import TypeVar

from torch import nn

from xmodal.engine import LEAST, Learners, share
from xmodal.run.job import Answer, Asked

Made = TypeVar("Made")
Steps = Generator[Asked, Answer | None, Made]
"""A run that is driven from outside: it asks for gradients, is sent the answers, and returns what it became."""


def alone(steps: Steps[Made]) -> Made:
    """Drives one run to its end. What goes wrong in a step is thrown into the run, which may leave word of it."""
    answer: Answer | BaseException | None = None
    while True:
        try:
            asked = _sent(steps, answer)
        except StopIteration as ended:
            return ended.value
        answer = _alone(asked)


def _sent(steps: Steps[Made], answer: Answer | BaseException | None) -> Asked:
    return steps.throw(answer) if isinstance(answer, BaseException) else steps.send(answer)


def together(
    runs: Mapping[int, Steps[Made]], until: Callable[[Made], float] = lambda _: 0
) -> Iterator[tuple[int, Made]]:
    """Drives runs side by side, one step of each at a time, and yields each as it ends.

    Their models must be such as `Learners` takes. From a step on that goes wrong for all of them together, where memory
    is short for one, each takes its steps by itself; what goes wrong then is thrown into the run.

    The last bits of a matrix product depend on how many rows it has. So those that are further along, as runs may be
    that go on, wait for the others; and who takes part in a step is who took part in it before, with another in the
    place of one that has ended since. Then a group that goes on ends with the bits of one that was never interrupted.

    Args:
        runs: by number.
        until: of what a run became, before which step it took part in the passes of this group.
    """
    group, there = Group(), dict.fromkeys(runs, inf)
    asked: dict[int, Asked] = {}
    answers: dict[int, Answer | BaseException | None] = dict.fromkeys(runs)
    try:
        while answers:
            for number, answer in answers.items():
                try:
                    asked[number] = _sent(runs[number], answer)
                except StopIteration as ended:
                    asked.pop(number, None)
                    there[number] = until(ended.value)
                    yield number, ended.value
                else:
                    group.meet(asked[number].job.model)
            step = min((one.step for one in asked.values()), default=0)
            now = [number for number, one in asked.items() if one.step == step]
            places = [now.index(number) if number in now else None for number, end in there.items() if step < end]
            answers = dict(zip(now, group.answer([asked[number] for number in now], places), strict=True))
    finally:
        for run in runs.values():
            run.close()  # whatever happened, no run folder stays claimed


class Group:
    """Those who take their steps together, as long as they are the same.

    Attributes:
        broken: why they do not any more; empty while they do.
    """

    def __init__(self) -> None:
        self._learners: Learners | None = None
        self._now: list[int] = []
        self._met: dict[int, nn.Module] = {}
        self.broken = ""

    def meet(self, model: nn.Module) -> None:
        """Lets a model that is new here hold nothing for itself that is frozen, and held already."""
        if id(model) not in self._met:
            if first := next(iter(self._met.values()), None):
                share([first, model])
            self._met[id(model)] = model

    def answer(self, asked: Sequence[Asked], places: Sequence[int | None] = ()) -> Sequence[Answer | BaseException]:
        """An answer for each, or what went wrong.

        Args:
            asked: those of one step.
            places: which of them goes where in the pass, each once by its number in `asked`; None is a place that any
                may fill. Without places they go in their order.
        """
        places = places or range(len(asked))
        if asked and len(places) > 1 and not self.broken:
            try:
                return self._together(asked, places)
            except Exception as error:  # whatever a model does that was not made for a stack; alone it may do well
                self.broken, self._learners = f"{type(error).__name__}: {error}", None
                for one in asked:
                    one.job.clear()
        return [_alone(one) for one in asked]

    def _together(self, asked: Sequence[Asked], places: Sequence[int | None]) -> Sequence[Answer | BaseException]:
        row = [asked[place or 0] for place in places]
        models = [one.job.model for one in row]
        if self._learners is None or self._now != [id(model) for model in models]:
            self._learners = Learners(models, [one.job.instead for one in row])
            self._now = [id(model) for model in models]
            if self._learners.shared < LEAST:
                self.broken = f"they have only {self._learners.shared:.0%} of their numbers in common"
                return self.answer(asked)
        began = perf_counter()
        with asked[0].job.arithmetic():
            losses = self._learners.losses([one.batch for one in row])
        losses = losses[[places.index(number) for number in range(len(asked))]]
        losses.sum().backward()
        each = (perf_counter() - began) / len(asked)
        return [Answer(loss, each) for loss in losses.detach()]


def _alone(asked: Asked) -> Answer | BaseException:
    try:
        return asked.alone()
    except BaseException as error:
        return error
