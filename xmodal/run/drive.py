"""Who computes the gradients that runs ask for: each run by itself, or several in one pass through a shared body."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from time import perf_counter
from typing import TypeVar

from xmodal.engine import Learners
from xmodal.run.loop import Answer, Asked

Made = TypeVar("Made")
Steps = Generator[Asked, Answer | None, Made]
"""A run that is driven from outside: it asks for gradients, is sent the answers, and returns what it became."""


def alone(steps: Steps[Made]) -> Made:
    """Drives one run to its end. What goes wrong in a step is thrown into the run, which may leave word of it."""
    answer: Answer | None = None
    while True:
        try:
            asked = steps.send(answer)
        except StopIteration as ended:
            return ended.value
        try:
            answer = asked.alone()
        except BaseException as error:
            steps.throw(error)


def together(runs: Mapping[int, Steps[Made]]) -> Iterator[tuple[int, Made | Exception]]:
    """Drives runs side by side, one step of each at a time, and yields each as it ends, or what ended it.

    Their models must be such as `Learners` takes. A run whose step goes wrong for all of them takes it alone.
    """
    answers: dict[int, Answer | None] = dict.fromkeys(runs)
    learners, met = None, ()
    while answers:
        asked: dict[int, Asked] = {}
        for number, answer in answers.items():
            try:
                asked[number] = runs[number].send(answer)
            except StopIteration as ended:
                yield number, ended.value
            except Exception as error:
                yield number, error
        if not asked:
            return
        if tuple(asked) != met or learners is None:
            learners, met = Learners([one.job.model for one in asked.values()]), tuple(asked)
        began = perf_counter()
        losses = learners.losses([one.batch for one in asked.values()])
        losses.sum().backward()
        each = (perf_counter() - began) / len(asked)
        answers = {number: Answer(loss, each) for number, loss in zip(asked, losses.tolist(), strict=True)}
