"""Reads what a pickle says and does nothing that it asks for: no unpickler is involved. Imports no torch.

A pickle is a program for a small stack machine, and the usual machine imports and calls whatever the program names.
This one knows numbers, text and dictionaries. All else becomes a stand-in without contents, and there is no instruction
that imports or calls.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pickletools import genops  # takes a pickle apart into its instructions, and runs none
from typing import Any

from xmodal.errors import DamagedError, UsageError

MOST_BYTES = 1 << 24
"""Longest record that is read."""
MOST_STEPS = 1_000_000
"""Most instructions in a record, which bounds the memory and the time that it takes."""
MOST_BITS = 64
"""Largest whole number."""
_NEWEST = 5

_CORES = ("numpy.core", "numpy._core")
_PARTS = ("multiarray _reconstruct", "multiarray scalar", "numeric _frombuffer")
# The last two are how protocol 2 spells bytes.
KNOWN = {f"{core}.{part}" for core in _CORES for part in _PARTS} | {
    "numpy ndarray",
    "numpy dtype",
    "_codecs encode",
    "__builtin__ bytes",
}
"""Module and name of what the arrays of numpy 1 and 2 name in their pickles."""


class Inert(Enum):
    """What stands for the values that are not read."""

    VALUE = "a list, bytes, an array or the like"
    NAMED = "one of the names in `KNOWN`"


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_TEXTS = {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "STRING", "BINSTRING", "SHORT_BINSTRING"}
_PUTS, _GETS = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
_REFUSED = {
    "PERSID": "a persistent id",
    "BINPERSID": "a persistent id",
    "EXT1": "an extension code",
    "EXT2": "an extension code",
    "EXT4": "an extension code",
    "OBJ": "an object to be built",
    "NEWOBJ_EX": "an object to be built",
    "NEXT_BUFFER": "a buffer outside of it",
    "READONLY_BUFFER": "a buffer outside of it",
}


def read_pickle(record: bytes | memoryview, where: str) -> object:
    """The value of a pickle: a number, a text, None, a dictionary of such by name, or `Inert.VALUE`.

    Args:
        record: a pickle of protocol 0 to 5.
        where: named in errors.

    Raises:
        UsageError: it names something that numpy arrays do not need, or would have the reader import or call it.
        DamagedError: it is cut off, makes no sense, or is too large.
    """
    machine = _Machine(where)
    try:
        if len(record) > MOST_BYTES:
            raise ValueError(f"it has {len(record)} bytes, and at most {MOST_BYTES} are read")
        for step, (instruction, argument, _) in enumerate(genops(bytes(record))):
            if step >= MOST_STEPS:
                raise ValueError(f"it has more than {MOST_STEPS} instructions")
            machine.do(instruction.name, argument)
        return machine.result()
    except (ValueError, LookupError, Warning) as error:  # Python warns of odd escapes, where warnings are errors
        why = str(error)[:200] if isinstance(error, ValueError) else "its instructions do not fit together"
        fix = "get the file again"
        raise DamagedError("the record is no whole pickle", where=where, why=why, fix=fix) from None


class _Machine:
    def __init__(self, where: str) -> None:
        self.where = where
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:
        """Follows one instruction."""
        if name in _TEXTS:
            argument.encode()  # half a surrogate pair is no text
            self.stack.append(argument)
        elif name in _NUMBERS:
            if isinstance(argument, int) and argument.bit_length() > MOST_BITS:
                raise ValueError(f"a number in it has {argument.bit_length()} bits")
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _BYTES:
            self.stack.append(Inert.VALUE)
        elif name in _PUTS:
            self.keep(argument)
        elif name in _GETS:
            self.stack.append(self.memo[argument])
        elif name in _REFUSED:
            raise self.refusal(_REFUSED[name])
        elif name in ("GLOBAL", "INST"):
            self.look_up(argument, known=name == "GLOBAL")
        elif name == "PROTO":
            if argument > _NEWEST:
                raise ValueError(f"its protocol is {argument}, and {_NEWEST} is the newest")
        elif name not in ("FRAME", "STOP"):
            _RULES[name](self)

    def result(self) -> object:
        """What is left at the end."""
        if self.below or len(self.stack) != 1 or self.stack[0] is Inert.NAMED:
            raise ValueError("it does not end with one value")
        return self.stack[0]

    def keep(self, index: int) -> None:
        if not 0 <= index < MOST_STEPS:
            raise ValueError(f"it numbers a value {index}")
        self.memo[index] = self.stack[-1]

    def look_up(self, name: str, *, known: bool) -> None:
        if not known or name not in KNOWN:
            said = ascii(name.replace(" ", ".", 1))[1:-1]
            raise self.refusal(said if len(said) <= 80 else f"{said[:80]}...")
        self.stack.append(Inert.NAMED)

    def refusal(self, what: str) -> UsageError:
        return UsageError(
            f"the record asks for {what}, which is refused",
            where=self.where,
            why="a pickle can name code that shall run; xmodal knows the names that numpy arrays need, and runs none",
            fix="take the file from TAPE's release, or the same records as JSON",
        )

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        found, self.stack = self.stack, self.below.pop()
        return found

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.to_mark()

    def inert(self, count: int) -> None:
        """Puts a stand-in where the last `count` values were."""
        if len(self.stack) < count:
            raise LookupError
        del self.stack[len(self.stack) - count :]
        self.stack.append(Inert.VALUE)

    def expect(self, kind: Inert) -> None:
        if self.stack[-1] is not kind:
            raise LookupError

    def add(self) -> None:
        """Forgets what goes into a stand-in: an item of a list, the state of an array."""
        self.stack.pop()
        self.expect(Inert.VALUE)

    def add_all(self) -> None:
        self.to_mark()
        self.expect(Inert.VALUE)

    def make(self) -> None:
        """Forgets the arguments; what a known name would make of them is a stand-in."""
        self.stack.pop()
        self.expect(Inert.NAMED)
        self.stack[-1] = Inert.VALUE

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise LookupError
        self.look_up(f"{module} {name}", known=True)

    def fill(self, items: list[Any]) -> None:
        """Sets the items of a dictionary; only those with a name are of use."""
        if len(items) % 2 or not isinstance(self.stack[-1], dict):
            raise LookupError
        pairs = zip(items[::2], items[1::2], strict=True)
        self.stack[-1].update({key: value for key, value in pairs if isinstance(key, str)})

    def dictionary(self) -> None:
        items = self.to_mark()
        self.stack.append({})
        self.fill(items)


_RULES: dict[str, Callable[[_Machine], object]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.to_mark,
    "DUP": lambda machine: machine.stack.append(machine.stack[-1]),
    "MEMOIZE": lambda machine: machine.keep(len(machine.memo)),
    "EMPTY_LIST": lambda machine: machine.inert(0),
    "EMPTY_TUPLE": lambda machine: machine.inert(0),
    "EMPTY_SET": lambda machine: machine.inert(0),
    "TUPLE1": lambda machine: machine.inert(1),
    "TUPLE2": lambda machine: machine.inert(2),
    "TUPLE3": lambda machine: machine.inert(3),
    "LIST": lambda machine: (machine.to_mark(), machine.inert(0)),
    "TUPLE": lambda machine: (machine.to_mark(), machine.inert(0)),
    "FROZENSET": lambda machine: (machine.to_mark(), machine.inert(0)),
    "APPEND": _Machine.add,
    "APPENDS": _Machine.add_all,
    "ADDITEMS": _Machine.add_all,
    "EMPTY_DICT": lambda machine: machine.stack.append({}),
    "DICT": _Machine.dictionary,
    "SETITEM": lambda machine: machine.fill([machine.stack.pop(), machine.stack.pop()][::-1]),
    "SETITEMS": lambda machine: machine.fill(machine.to_mark()),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.make,
    "NEWOBJ": _Machine.make,
    "BUILD": _Machine.add,
}
