from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xmodal.errors import DamagedError
from xmodal.sources.idx import read_idx

GOOD = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(6))


def read(tmp_path: Path, content: bytes, dimensions: int = 2) -> np.ndarray:
    (tmp_path / "x-idx2-ubyte").write_bytes(content)
    return read_idx(tmp_path / "x-idx2-ubyte", dimensions)


def test_reads_rows(tmp_path: Path) -> None:
    array = read(tmp_path, GOOD)
    np.testing.assert_array_equal(array, [[0, 1, 2], [3, 4, 5]])
    assert array.dtype == np.uint8
    assert array.flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD[:-1], "wrong length"),
        (GOOD + b"x", "wrong length"),
        (GOOD[:11], "ends in its header"),
        (b"", "ends in its header"),
        (b"\1" + GOOD[1:], "not an IDX file"),
        (GOOD[:2] + b"\x0d" + GOOD[3:], "not an IDX file"),
        (GOOD[:3] + b"\3" + GOOD[4:], "in 2 dimensions"),
        (GOOD[:4] + b"\xff" * 8, "wrong length"),
    ],
)
def test_anything_else_is_damage(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DamagedError, match=message) as caught:
        read(tmp_path, content)
    assert caught.value.where == str(tmp_path / "x-idx2-ubyte")
