"""Who computes the gradients that runs ask for: each run by itself, or several in one pass through a shared body."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from time import perf_counter
from typing import TypeVar

from torch import nn

from xmodal.engine import LEAST, Learners, share
from xmodal.run.loop import Answer, Asked

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


def together(runs: Mapping[int, Steps[Made]]) -> Iterator[tuple[int, Made]]:
    """Drives runs side by side, one step of each at a time, and yields each as it ends.

    Their models must be such as `Learners` takes. From a step on that goes wrong for all of them together, where memory
    is short for one, each takes its steps by itself; what goes wrong then is thrown into the run.
    """
    group = Group()
    answers: dict[int, Answer | BaseException | None] = dict.fromkeys(runs)
    try:
        while answers:
            asked: dict[int, Asked] = {}
            for number, answer in answers.items():
                try:
                    asked[number] = _sent(runs[number], answer)
                except StopIteration as ended:
                    yield number, ended.value
                else:
                    group.meet(asked[number].job.model)
            answers = dict(zip(asked, group.answer(list(asked.values())), strict=True))
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

    def answer(self, asked: Sequence[Asked]) -> Sequence[Answer | BaseException]:
        """An answer for each, or what went wrong."""
        if len(asked) > 1 and not self.broken:
            try:
                return self._together(asked)
            except Exception as error:  # whatever a model does that was not made for a stack; alone it may do well
                self.broken, self._learners = f"{type(error).__name__}: {error}", None
                for one in asked:
                    for parameter in one.job.trainable.values():
                        parameter.grad = None
        return [_alone(one) for one in asked]

    def _together(self, asked: Sequence[Asked]) -> Sequence[Answer | BaseException]:
        models = [one.job.model for one in asked]
        if self._learners is None or self._now != [id(model) for model in models]:
            self._learners, self._now = Learners(models), [id(model) for model in models]
            if self._learners.shared < LEAST:
                self.broken = f"they have only {self._learners.shared:.0%} of their numbers in common"
                return self.answer(asked)
        began = perf_counter()
        with asked[0].job.arithmetic():
            losses = self._learners.losses([one.batch for one in asked])
        losses.sum().backward()
        each = (perf_counter() - began) / len(asked)
        return [Answer(loss, each) for loss in losses.detach()]


def _alone(asked: Asked) -> Answer | BaseException:
    try:
        return asked.alone()
    except BaseException as error:
        return error
