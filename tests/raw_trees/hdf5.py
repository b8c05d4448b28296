"""Writing HDF5 as MATLAB does with -v7.3: cells of arrays behind references. h5py reads it too."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

USER_BLOCK = 512
_LEAF_K, _INTERNAL_K, _CHUNK_K = 256, 16, 32
_NOWHERE = 0xFFFFFFFFFFFFFFFF


def write_cells(path: Path, name: str, cells: Sequence[NDArray[np.uint8]], *, packed: bool = True) -> None:
    """Write a variable that is an N x 1 cell array of uint8 matrices (at most 500), given as MATLAB shows them."""
    file = _File()
    places = [file.dataset(np.ascontiguousarray(c.T), packed=packed) for c in cells]
    references = np.array(places, "<u8").reshape(1, -1).T
    members = {f"c{i:04d}": at for i, at in enumerate(places)}
    root = file.group({"#refs#": file.group(members), name: file.dataset(references, packed=False, reference=True)})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.finished(root))


class _File:
    def __init__(self) -> None:
        self.data = bytearray(96)  # superblock, filled in at the end

    def put(self, data: bytes) -> int:
        self.data += bytes(-len(self.data) % 8)
        at = len(self.data)
        self.data += data
        return at

    def header(self, messages: Sequence[tuple[int, bytes]]) -> int:
        parts = [struct.pack("<HHB3x", k, len(d) + -len(d) % 8, 0) + d + bytes(-len(d) % 8) for k, d in messages]
        body = b"".join(parts)
        return self.put(struct.pack("<BxHII4x", 1, len(parts), 1, len(body)) + body)

    def dataset(self, values: NDArray[np.generic], *, packed: bool, reference: bool = False) -> int:
        rank, item = values.ndim, values.dtype.itemsize
        raw = values.tobytes()
        kind = struct.pack("<B3BIHH", 0x10, 0, 0, 0, item, 0, 8 * item)
        messages = [
            (0x1, struct.pack(f"<BBB5x{rank}Q", 1, rank, 0, *values.shape)),
            (0x3, struct.pack("<B3BI", 0x17, 0, 0, 0, 8) if reference else kind),
            (0x5, struct.pack("<BBBB", 2, 2, 2, 0)),
        ]
        if not packed:
            at = self.put(raw)
            return self.header([*messages, (0x8, struct.pack("<BBQQ", 3, 1, at, len(raw)))])
        z = zlib.compress(raw)
        at = self.put(z)
        key = struct.pack(f"<II{rank + 1}Q", len(z), 0, *[0] * (rank + 1))
        end = struct.pack(f"<II{rank + 1}Q", 0, 0, *values.shape, 0)
        node = struct.pack("<4sBBHQQ", b"TREE", 1, 0, 1, _NOWHERE, _NOWHERE) + key + struct.pack("<Q", at) + end
        size = 24 + (2 * _CHUNK_K + 1) * len(key) + 2 * _CHUNK_K * 8
        tree = self.put(node.ljust(size, b"\0"))
        layout = struct.pack(f"<BBBQ{rank + 1}I", 3, 2, rank + 1, tree, *values.shape, item)
        filters = struct.pack("<BB6xHHHHII", 1, 1, 1, 0, 1, 1, 3, 0)
        return self.header([*messages, (0x8, layout), (0xB, filters)])

    def group(self, members: dict[str, int]) -> int:
        text, entries = b"\0" * 8, b""
        for name in sorted(members):
            entries += struct.pack("<QQII16x", len(text), members[name], 0, 0)
            text += name.encode() + b"\0" * (8 - len(name.encode()) % 8)
        last = entries[-40:-32]
        at = self.put(text)
        heap = self.put(struct.pack("<4sB3xQQQ", b"HEAP", 0, len(text), 1, at))
        leaf = struct.pack("<4sBxH", b"SNOD", 1, len(members)) + entries
        leaf_at = self.put(leaf.ljust(8 + 2 * _LEAF_K * 40, b"\0"))
        node = struct.pack("<4sBBHQQQQ", b"TREE", 0, 0, 1, _NOWHERE, _NOWHERE, 0, leaf_at) + last
        tree = self.put(node.ljust(24 + (2 * _INTERNAL_K + 1) * 8 + 2 * _INTERNAL_K * 8, b"\0"))
        return self.header([(0x11, struct.pack("<QQ", tree, heap))])

    def finished(self, root: int) -> bytes:
        end = USER_BLOCK + len(self.data)
        block = b"\x89HDF\r\n\x1a\n" + struct.pack("<8BHHI", 0, 0, 0, 0, 0, 8, 8, 0, _LEAF_K, _INTERNAL_K, 0)
        block += struct.pack("<QQQQ", USER_BLOCK, _NOWHERE, end, _NOWHERE) + struct.pack("<QQII16x", 0, root, 0, 0)
        self.data[: len(block)] = block
        return b"MATLAB 7.3 MAT-file".ljust(USER_BLOCK, b" ") + bytes(self.data)
