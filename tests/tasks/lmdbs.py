"""Writes LMDB files as TAPE does."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import lmdb


def write_lmdb(
    place: Path, records: Sequence[object], *, subdir: bool = True, protocol: int = 3, **changes: object
) -> Path:
    """The file with these records; `changes` are other values by key, `bytes` as they are and None for no such key."""
    values: dict[str, object] = {str(number): record for number, record in enumerate(records)}
    values |= {"num_examples": len(records), **changes}
    with lmdb.open(str(place), subdir=subdir, map_size=1 << 28, lock=False) as environment:
        put(environment, {key: value for key, value in values.items() if value is not None}, protocol)
    return place


def put(environment: lmdb.Environment, values: Mapping[str, object], protocol: int = 3) -> None:
    """Writes each value under its key."""
    with environment.begin(write=True) as transaction:
        for key, value in values.items():
            record = value if isinstance(value, bytes) else pickle.dumps(value, protocol)
            transaction.put(key.encode(), record)
