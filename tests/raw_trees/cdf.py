"""Writing NASA's Common Data Format: one variable of one record, like Human3.6M's poses. cdflib reads it too."""

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_cdf(
    path: Path, name: str, values: NDArray[np.float32], *, version: int = 3, packed: bool = True, whole: bool = False
) -> None:
    """Write a single-precision variable of shape (1, *dims), rows first, little-endian.

    version: 2 has addresses of 4 bytes. packed: compress the values; whole: compress the file instead.
    """
    w, names = (8, 256) if version == 3 else (4, 64)
    data = np.ascontiguousarray(values, "<f4").tobytes()
    dims = values.shape[1:]

    def record(kind: int, *fields: bytes) -> bytes:
        body = b"".join(fields)
        return address(w + 4 + len(body)) + struct.pack(">i", kind) + body

    def address(x: int) -> bytes:
        return struct.pack(">q" if w == 8 else ">i", x)

    def ints(*x: int) -> bytes:
        return struct.pack(f">{len(x)}i", *x)

    squeeze = packed and not whole
    block = record(13, ints(0), address(len(z := gzip.compress(data, mtime=0))), z) if squeeze else record(7, data)
    at_gdr = 8 + len(record(1, address(0), ints(*[0] * 9), bytes(256)))
    at_var = at_gdr + len(record(2, *[address(0)] * 4, ints(*[0] * 5), address(0), ints(0, 0, 0)))
    size = w + 4 + w + 8 + 2 * w + 28 + w + 4 + names + 4 + 8 * len(dims)
    at_list = at_var + size
    at_block = at_list + len(record(6, address(0), ints(1, 1, 0, 0), address(0)))
    at_how = at_block + len(block)
    variable = record(
        8, address(0), ints(44, 0), address(at_list), address(at_list), ints(5 if squeeze else 1, 0, 0, 0, -1, 1, 0),
        address(at_how if squeeze else -1), ints(1), name.encode().ljust(names, b"\0"),
        ints(len(dims), *dims, *[-1] * len(dims)),
    )  # fmt: skip
    assert len(variable) == size
    how = record(11, ints(5, 0, 1, 6)) if squeeze else b""
    body = b"".join([
        record(1, address(at_gdr), ints(version, 6, 6, 3, 0, 0, 0, 0, -1), bytes(256)),
        record(2, address(0), address(at_var), address(0), address(at_how + len(how)), ints(0, 0, -1, 0, 1),
               address(0), ints(0, 0, 0)),
        variable,
        record(6, address(0), ints(1, 1, 0, 0), address(at_block)),
        block,
        how,
    ])  # fmt: skip
    magic = b"\xcd\xf3\x00\x01" if version == 3 else b"\xcd\xf2\x60\x02"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not whole:
        path.write_bytes(magic + b"\x00\x00\xff\xff" + body)
        return
    z = gzip.compress(body, mtime=0)
    at_how = 8 + len(record(10, address(0), address(0), ints(0), z))
    outer = record(10, address(at_how), address(len(body)), ints(0), z) + record(11, ints(5, 0, 1, 6))
    path.write_bytes(magic + b"\xcc\xcc\x00\x01" + outer)
