"""Run in its own process by test_bounds.py: hostile files, one after the other, under a hard memory limit."""

import io
import json
import pickle
import resource
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from openexpose.errors import AssetError
from openexpose.readers import read_npy, read_npz, read_pickle, read_safetensors

LIMIT_BYTES = 2 << 30


def npy_header(shape: str, descr: str = "<f8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def zipped(member: bytes, *, claim: int | None = None, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A one-member archive, optionally with a false size in both of its headers."""
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w", method) as z:
        z.writestr("a.npy", member)
    data = bytearray(f.getvalue())
    if claim is not None:
        directory = data.rindex(b"PK\x01\x02")
        data[22:26] = data[directory + 24 : directory + 28] = struct.pack("<I", claim)
    return bytes(data)


def zeros_bomb(n_bytes: int) -> bytes:
    """An honest archive of `n_bytes` zeros: a few megabytes on disk."""
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w", zipfile.ZIP_DEFLATED) as z, z.open("a.npy", "w", force_zip64=True) as member:
        member.write(npy_header(f"({n_bytes // 8},)"))
        for _ in range(n_bytes >> 24):
            member.write(bytes(1 << 24))
    return f.getvalue()


def nested_tuples() -> bytes:
    """t1 = (t0, t0), t2 = (t1, t1), ... as a dictionary key: hashing it naively takes 2^60 steps."""
    links = b"".join(b"h%ch%c\x86q%c0" % (k, k, k + 1) for k in range(60))
    return b")q\x000" + links + b"}h\x3cK\x01s."


def lists_of_lists() -> bytes:
    links = (b"]q%c(h%ch%ce" % (k, k - 1, k - 1) for k in range(1, 40))
    return b"]q\x00" + b"".join(links) + b"."


def doubled_shape() -> bytes:
    """An array whose shape is a list of 2^40 leaves: printing it would never end."""
    head = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return lists_of_lists()[:-1] + b"0" + head + b"(K\x01h\x27cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R\x89U\x00tb."


def doubled_chumpy_shape() -> bytes:
    """A chumpy Reshape whose new shape is such a list: making an array of it would never end."""
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    array += b"(K\x01K\x01\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R\x89U\x08" + bytes(8) + b"tb"
    return lists_of_lists()[:-1] + b"0cchumpy.reordering\nReshape\n)\x81}(U\x01a" + array + b"U\x08newshapeh\x27ub."


def empty_sparse_matrices() -> bytes:
    """One index array of 125,000 numbers in each of 50,000 empty sparse matrices."""
    new, f8, u4 = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01",
        b"U\x02f8",
        b"U\x02u4",
    )
    dtype = b"cnumpy\ndtype\n%bK\x00K\x01\x87R\x89"
    pointers = new + b"J" + struct.pack("<i", 125_001) + b"\x85" + dtype % u4
    pointers += b"T" + struct.pack("<i", 500_004) + bytes(500_004) + b"tbq\x00"
    none = b"%bK\x00\x85%bU\x00tbq%c"
    state = (
        b"}(U\x06_shapeK\x01J"
        + struct.pack("<i", 125_000)
        + b"\x86U\x06indptrh\x00U\x04datah\x01U\x07indicesh\x02uq\x03"
    )
    head = pointers + none % (new, dtype % f8, 1) + none % (new, dtype % u4, 2) + state
    return b"\x80\x02(" + head + b"cscipy.sparse.csc\ncsc_matrix\nq\x04" + b")\x81h\x03bh\x04" * 50_000 + b"l."


def same_text_as_many_arrays() -> bytes:
    """60 kB of Python 2 text, encoded again for each of 50,000 arrays."""
    head = b"cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01"
    head += b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87Rq\x02"
    text = b"T" + struct.pack("<i", 60_000) + b"a" * 60_000 + b"q\x03"
    one = b"h\x00h\x01K\x00\x85U\x01b\x87R(K\x01J" + struct.pack("<i", 60_000) + b"\x85h\x02\x89h\x03tb"
    return b"\x80\x02" + head + text + b"(" + one * 50_000 + b"l."


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "sets": (".pkl", lambda: b"(" + b"\x8f" * 2_000_000 + b"l."),
    "marks": (".pkl", lambda: b"(" * 2_000_000 + b"."),
    "integers": (".pkl", lambda: b"(" + b"K\x01" * 5_000_000 + b"l."),
    "pops": (".pkl", lambda: b"N0" * 5_000_000 + b"N."),
    "twins": (".pkl", lambda: b"](" + b"N" + b"2" * 5_000_000 + b"e."),
    "memo": (".pkl", lambda: b"N" + b"".join(b"r" + struct.pack("<I", 2**32 - 1 - k) for k in range(10**6)) + b"."),
    "records": (".pkl", lambda: b"(" + b"cchumpy.ch\nCh\nq\x00" + b")\x81h\x00" * 1_500_000 + b"0l."),
    "tuple key": (".pkl", nested_tuples),
    "lists of lists": (".pkl", lists_of_lists),
    "one text, many arrays": (".pkl", same_text_as_many_arrays),
    "doubled shape": (".pkl", doubled_shape),
    "doubled chumpy shape": (".pkl", doubled_chumpy_shape),
    "empty sparse matrices": (".pkl", empty_sparse_matrices),
    "globals": (".pkl", lambda: b"cos.path.x.y\nz\n."),
    "harmless globals": (".pkl", lambda: b"cchumpy.ch.a.b.c\nCh\n0" * 1_000_000 + b"N."),
    "deep list": (".pkl", lambda: b"]" * 400_000 + b"a" * 399_999 + b"."),
    "deep tuple": (".pkl", lambda: b")" + b"\x85" * 400_000 + b"."),
    "bytes of 8 TiB": (".pkl", lambda: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 43) + b"abc."),
    "npy of 8 TiB": (".npy", lambda: npy_header("(1099511627776,)") + b"abc"),
    "npy of 2^72": (".npy", lambda: npy_header("(68719476736, 68719476736)") + b"abc"),
    "npy with zero axis": (".npy", lambda: npy_header("(0, 999999999999999999)")),
    "npy long text": (".npy", lambda: npy_header("(1000,)", "<U9999999")),
    "npz claims 3 GiB": (".npz", lambda: zipped(npy_header("(402653168,)") + b"abc", claim=3 << 30)),
    "npz of 512 MiB zeros": (".npz", lambda: zeros_bomb(1 << 29)),
    "safetensors header of 8 EiB": (".safetensors", lambda: struct.pack("<Q", 1 << 63) + b"{}"),
    "safetensors tensor of 8 TiB": (
        ".safetensors",
        lambda: struct.pack("<Q", 69) + b'{"a":{"dtype":"F64","shape":[1099511627776],"data_offsets":[0,8]}}   ',
    ),
    "object npy": (".npy", lambda: npy_header("(3,)", "|O") + pickle.dumps(np.zeros(2))),
}  # fmt: skip
READ = {".pkl": read_pickle, ".npy": read_npy, ".npz": read_npz, ".safetensors": read_safetensors}


def peak_mib() -> int:
    """Most memory this program has had resident; getrusage would count the parent process before exec, too."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def results(folder: Path) -> Iterator[dict[str, object]]:
    for name, (suffix, make) in BOMBS.items():
        path = folder / f"bomb{suffix}"
        path.write_bytes(make())
        start = time.process_time()
        try:
            READ[suffix](path)
            outcome = "read"
        except AssetError as e:
            outcome = str(e).splitlines()[0]
        seconds = time.process_time() - start
        yield {"name": name, "outcome": outcome, "cpu_seconds": round(seconds, 2), "peak_mib": peak_mib()}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    with tempfile.TemporaryDirectory() as where:
        json.dump(list(results(Path(where))), sys.stdout, indent=1)
