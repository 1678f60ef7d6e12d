"""ListOps expressions: their tokens, what they are worth, and how they are drawn (Nangia 2018; Tay 2020).

The rules of the Long Range Arena: operators MIN, MAX, MED and SM (sum modulo 10), each as likely; a node above the
deepest level is an operator with probability 1/4, else a digit; an operator has 2 to 10 arguments, each as likely; an
expression counts its digits once and its operators twice (opener and `]`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

OPERATORS = ("MIN", "MAX", "MED", "SM")
DIGIT, OPENER, CLOSER = 1, 11, 15
"""Ids: 0 is padding, 1 to 10 are the digits, 11 to 14 the openers, 15 is `]`."""
VOCABULARY = 16
DEEPEST, SHARE, FEWEST, MOST = 10, 0.25, 2, 10
"""The root stands on level 1 and digits on level 10; share of operators; arguments."""

_DEEPER = {"(": 1, ")": -1}
_WORDS = {str(digit): DIGIT + digit for digit in range(10)}
_WORDS |= {f"[{operator}": OPENER + number for number, operator in enumerate(OPERATORS)} | {"]": CLOSER}


def encode(text: str) -> np.ndarray:
    """Ids of an expression in LRA's own format, whose parentheses say nothing that `]` does not.

    Raises:
        ValueError: a word in it is none of theirs, or parentheses do not pair.
    """
    every = text.split()
    depths = [0, *accumulate(_DEEPER[word] for word in every if word in _DEEPER)]
    if min(depths) < 0 or depths[-1]:
        raise ValueError("its parentheses do not pair")
    words = [word for word in every if word not in _DEEPER]
    if strange := next((word for word in words if word not in _WORDS), None):
        raise ValueError(f"'{strange[:20]}' is neither a digit, nor an operator, nor ]")
    return np.array([_WORDS[word] for word in words], dtype=np.uint8)


def evaluate(tokens: Sequence[int] | np.ndarray) -> int:
    """What an expression is worth. The median of an even count is the mean of the middle two, truncated.

    Raises:
        ValueError: it is not one expression.
    """
    open_: list[tuple[int, list[int]]] = []
    value = None
    for place, token in enumerate(map(int, tokens)):
        if value is not None:
            raise ValueError(f"it goes on after its end, at token {place}")
        if token == CLOSER:
            if not open_:
                raise ValueError(f"] without an operator, at token {place}")
            operator, arguments = open_.pop()
            if not arguments:
                raise ValueError(f"an operator without arguments ends at token {place}")
            result = _apply(operator, arguments)
        elif token >= OPENER:
            open_.append((token - OPENER, []))
            continue
        else:
            result = token - DIGIT
        if open_:
            open_[-1][1].append(result)
        else:
            value = result
    if value is None:
        raise ValueError(f"operators that are not closed: {len(open_)}" if open_ else "it is empty")
    return value


def _apply(operator: int, arguments: list[int]) -> int:
    match OPERATORS[operator]:
        case "MIN":
            return min(arguments)
        case "MAX":
            return max(arguments)
        case "SM":
            return sum(arguments) % 10
    ranked, middle = sorted(arguments), len(arguments) // 2
    return ranked[middle] if len(arguments) % 2 else (ranked[middle - 1] + ranked[middle]) // 2


class Drawn(NamedTuple):
    """Expressions one after the other: their tokens, where each ends, and what each is worth."""

    tokens: np.ndarray
    ends: np.ndarray
    labels: np.ndarray

    def each(self) -> Iterator[tuple[np.ndarray, int]]:
        """Tokens and worth of each expression."""
        starts = np.concatenate([[0], self.ends[:-1]])
        for start, end, label in zip(starts.tolist(), self.ends.tolist(), self.labels.tolist(), strict=True):
            yield self.tokens[start:end], label


class _Level(NamedTuple):
    parent: np.ndarray  # index in the level above
    tree: np.ndarray
    operator: np.ndarray  # -1 for a digit
    arguments: np.ndarray  # number of children
    digit: np.ndarray


def draw(roots: int, random: np.random.Generator, shortest: int, longest: int) -> Drawn:
    """All of `roots` trees that have more than `shortest` and fewer than `longest` tokens, level by level in arrays."""
    levels, lengths = _grow(roots, random, longest)
    kept = (lengths > shortest) & (lengths < longest)
    levels = _prune(levels, kept)
    number = np.cumsum(kept) - 1
    sizes, values = _climb(levels)
    ends = np.cumsum(lengths[kept])
    tokens = np.zeros(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
    offsets = np.concatenate([[0], ends[:-1]])[number[levels[0].tree]] if len(ends) else np.zeros(0, dtype=np.int64)
    for depth, level in enumerate(levels):
        is_operator = level.operator >= 0
        tokens[offsets] = np.where(is_operator, OPENER + level.operator, DIGIT + level.digit)
        tokens[offsets[is_operator] + sizes[depth][is_operator] - 1] = CLOSER
        if depth + 1 < len(levels):
            below, size = levels[depth + 1], sizes[depth + 1]
            before = np.cumsum(size) - size  # tokens of all nodes before this one on its level
            first = np.concatenate([[True], below.parent[1:] != below.parent[:-1]])[: len(size)]
            base = np.repeat(before[first], np.diff(np.flatnonzero(np.concatenate([first, [True]]))))
            offsets = offsets[below.parent] + 1 + before - base
    return Drawn(tokens, ends, values[0])


def _grow(roots: int, random: np.random.Generator, longest: int) -> tuple[list[_Level], np.ndarray]:
    """Levels of trees, and their lengths; a tree stops growing once it is too long."""
    lengths = np.zeros(roots, dtype=np.int64)
    levels: list[_Level] = []
    parent = tree = np.arange(roots)
    for depth in range(1, DEEPEST + 1):
        count = len(tree)
        is_operator = random.random(count) < SHARE if depth < DEEPEST else np.zeros(count, dtype=bool)
        operator = np.where(is_operator, random.integers(0, len(OPERATORS), count), -1)
        arguments = np.where(is_operator, random.integers(FEWEST, MOST + 1, count), 0)
        digit = random.integers(0, 10, count)
        np.add.at(lengths, tree, np.where(is_operator, 2, 1))
        levels.append(_Level(parent, tree, operator, arguments, digit))
        grows = arguments * (lengths[tree] < longest)
        parent = np.repeat(np.arange(count), grows)
        tree = tree[parent]
        if not len(tree):
            break
    return levels, lengths


def _prune(levels: list[_Level], kept: np.ndarray) -> list[_Level]:
    """The levels without the nodes of trees that are not kept."""
    pruned, number = [], None
    for level in levels:
        stays = kept[level.tree]
        parent = level.parent[stays] if number is None else number[level.parent[stays]]
        pruned.append(_Level(parent, *(column[stays] for column in level[1:])))
        number = np.cumsum(stays) - 1
    return [level for level in pruned if len(level.tree)]


def _climb(levels: list[_Level]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Tokens in, and worth of, the tree below each node, from the deepest level up."""
    sizes: list[np.ndarray] = [np.zeros(0, dtype=np.int64)] * max(len(levels), 1)
    values = list(sizes)
    for depth in range(len(levels) - 1, -1, -1):
        level = levels[depth]
        size, value = np.ones(len(level.tree), dtype=np.int64), level.digit.astype(np.int64)
        at = np.flatnonzero(level.operator >= 0)
        if len(at):
            count = level.arguments[at]
            starts = np.cumsum(count) - count
            below, worth = sizes[depth + 1], values[depth + 1]
            size[at] = 2 + np.add.reduceat(below, starts)
            ranked = worth[np.lexsort((worth, levels[depth + 1].parent))]
            middle = (ranked[starts + (count - 1) // 2] + ranked[starts + count // 2]) // 2
            choices = [ranked[starts], ranked[starts + count - 1], middle, np.add.reduceat(worth, starts) % 10]
            value[at] = np.choose(level.operator[at], choices)
        sizes[depth], values[depth] = size, value
    return sizes, values
