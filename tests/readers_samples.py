"""Small files of every format the readers know, and fakes of classes that are not installed here."""

import io
import pickle
import struct
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from scipy import sparse


@contextmanager
def fake_chumpy() -> Iterator[types.SimpleNamespace]:
    """Classes that pickle under chumpy's names: Ch(x), Select(a, idxs, preferred_shape), Reshape, transpose, Add."""

    def of(module: str, name: str) -> type:
        made = type(name, (), {"__init__": lambda self, **state: self.__dict__.update(state)})
        made.__module__ = module
        sys.modules.setdefault(module, types.ModuleType(module))
        setattr(sys.modules[module], name, made)
        return made

    names = ("chumpy", "chumpy.ch", "chumpy.reordering", "chumpy.ch_ops")
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    try:
        yield types.SimpleNamespace(
            Ch=of("chumpy.ch", "Ch"),
            Select=of("chumpy.reordering", "Select"),
            Reshape=of("chumpy.reordering", "Reshape"),
            transpose=of("chumpy.reordering", "transpose"),
            add=of("chumpy.ch_ops", "add"),
        )
    finally:
        for name in names:
            del sys.modules[name]


def model_like(seed: int = 0) -> dict[str, Any]:
    """A dictionary with the kinds of values that model pickles hold."""
    rng = np.random.default_rng(seed)
    return {
        "v_template": rng.standard_normal((9, 3)),
        "f": rng.integers(0, 9, (5, 3)).astype(np.uint32),
        "weights": np.asfortranarray(rng.random((9, 4)).astype(np.float32)),
        "J_regressor": sparse.csc_matrix(np.where(rng.random((4, 9)) < 0.4, rng.random((4, 9)), 0)),
        "kintree_table": np.array([[2**32 - 1, 0, 0, 1], [0, 1, 2, 3]], np.uint32),
        "bs_style": "lbs",
        "names": np.array(["a", "bc"], object),
        "text": np.array(["pelvis", "knee"]),
        "nested": {"list": [1, 2.5, None, True, (3, "x")], "set": {1, 2}, "bytes": b"\x00\xff"},
        "scalar": np.float64(0.25),
        "empty": np.zeros((0, 3)),
    }


def python2_pickle(values: NDArray[np.float64]) -> bytes:
    """A protocol-2 pickle of {"x": array} as Python 2 wrote it: old module names, bytes as text."""
    raw = values.astype("<f8").tobytes()
    shape = b"(" + b"".join(b"K" + bytes([n]) for n in values.shape) + b"t"
    return (
        b"\x80\x02}q\x00U\x01xq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87R"
        + b"(K\x01" + shape + b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ"
        + b"\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(raw)) + raw + b"tbs."
    )  # fmt: skip


def npy_bytes(array: NDArray[Any], **kwargs: Any) -> bytes:
    """A `.npy` file in memory."""
    f = io.BytesIO()
    np.save(f, array, **kwargs)
    return f.getvalue()


def npz_bytes(write: Callable[..., None], **arrays: NDArray[Any]) -> bytes:
    """A `.npz` file in memory; write is np.savez or np.savez_compressed."""
    f = io.BytesIO()
    write(f, **arrays)
    return f.getvalue()


def samples() -> dict[str, bytes]:
    """File name -> bytes of a sound file."""
    rng = np.random.default_rng(5)
    plain, objects = rng.standard_normal((6, 5)), np.array({"lmk_face_idx": np.arange(3), "b": [1, 2]}, object)
    out = {f"p{p}.pkl": pickle.dumps(model_like(), protocol=p) for p in range(6)}
    with fake_chumpy() as ch:
        content = {"v": ch.Ch(x=plain), "s": ch.Select(a=ch.Ch(x=plain), idxs=np.arange(4), preferred_shape=(2, 2))}
        out["chumpy.pkl"] = pickle.dumps(content, protocol=2)
    means = {
        n: {"aa": rng.random((j, 3, 1)), "cont_rot_repr": rng.random((j, 6))}
        for n, j in (("body_pose", 21), ("left_hand_pose", 15), ("right_hand_pose", 15))
    }
    return out | {
        "py2.pkl": python2_pickle(plain),
        "all_means.pkl": pickle.dumps(means, protocol=2),
        "plain.npy": npy_bytes(plain),
        "fortran.npy": npy_bytes(np.asfortranarray(plain)),
        "objects.npy": npy_bytes(objects, allow_pickle=True),
        "stored.npz": npz_bytes(np.savez, a=plain, b=np.arange(7), c=objects),
        "deflated.npz": npz_bytes(np.savez_compressed, a=plain, zeros=np.zeros((40, 40)), c=objects),
        "tensors.safetensors": save({"a": plain.astype(np.float32), "b": np.arange(4)}, {"k": "v"}),
    }


def put(folder: Path, name: str, data: bytes) -> Path:
    """Write `data` and return the path."""
    path = folder / name
    path.write_bytes(data)
    return path
