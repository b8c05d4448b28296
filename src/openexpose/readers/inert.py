"""What a pickle may name, and the harmless stand-ins that are made instead: arrays, sparse matrices, chumpy values.

No name of a file is ever imported. Each allowed global maps to a function of this module that checks its arguments
and returns a plain value or a `Cell`, which `readers.unpickle` turns into a value once the whole pickle is read.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openexpose.readers.limits import Budget, UnreadableError

_DTYPE = re.compile(r"[<>=|]?([biufcSUO])(\d{0,7})")
MAX_DIMS = 32


class Cell:
    """Something the pickle fills in two steps: first it is named, then (opcode BUILD) it gets its state."""

    def set_state(self, state: Any, budget: Budget) -> None:
        """Take the state; UnreadableError unless this kind of cell has one."""
        raise UnreadableError(f"the pickle sets the state of a {type(self).__name__}")


@dataclass(frozen=True)
class Constructor:
    """An allowed global: `make(args, budget)` returns a plain value or a cell and runs no foreign code."""

    name: str
    make: Callable[[tuple[Any, ...], Budget], Any]


@dataclass
class Blob(Cell):
    """A long string, still a view of the file."""

    raw: memoryview
    encoding: str | None
    """None for bytes."""


@dataclass
class DtypeCell(Cell):
    """An element type."""

    dtype: "np.dtype[Any]"

    def set_state(self, state: Any, budget: Budget) -> None:
        """(version, byte order, None, None, None, ...): only plain types, no structures."""
        if type(state) is not tuple or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise UnreadableError("an array type has an unknown state")
        if any(x is not None for x in state[2:5]) or (len(state) > 8 and state[8] is not None):
            raise UnreadableError("a structured array type")
        if state[1] in "<>":
            self.dtype = self.dtype.newbyteorder("<" if state[1] == "<" else ">")


@dataclass
class ArrayCell(Cell):
    """An array: `values` is set once its state was read; elements of object arrays stay a list until resolved."""

    values: NDArray[Any] | None = None
    objects: list[Any] | None = None
    shape: tuple[int, ...] = ()
    fortran: bool = False

    def set_state(self, state: Any, budget: Budget) -> None:
        """(version, shape, dtype, Fortran order?, raw bytes or list of objects), as numpy writes it."""
        if type(state) is not tuple or len(state) not in (4, 5):
            raise UnreadableError("an array has an unknown state")
        shape, dtype, fortran, raw = state[-4:]
        self.shape, self.fortran = check_shape(shape), bool(fortran)
        dtype = _dtype_of(dtype)
        if dtype.hasobject:
            if type(raw) is not list or len(raw) != prod(self.shape):
                raise UnreadableError(f"an object array of shape {self.shape} does not have that many objects")
            budget.spend(16 * len(raw))
            self.objects = raw
            return
        self.values = array_of(_raw_bytes(raw, budget), dtype, self.shape, self.fortran)


@dataclass
class SparseCell(Cell):
    """A scipy sparse matrix, rebuilt from its state without scipy."""

    layout: str
    state: dict[Any, Any] | None = None

    def set_state(self, state: Any, budget: Budget) -> None:
        """The instance dictionary: _shape, data and indices."""
        if type(state) is not dict:
            raise UnreadableError("a sparse matrix has an unknown state")
        self.state = state


@dataclass
class RecordCell(Cell):
    """An object of the chumpy package: its class name and its attributes, nothing else."""

    name: str
    state: dict[Any, Any] | None = None

    def set_state(self, state: Any, budget: Budget) -> None:
        """The instance dictionary."""
        if type(state) is not dict:
            raise UnreadableError(f"an object {self.name} has an unknown state")
        self.state = state


def check_shape(shape: Any) -> tuple[int, ...]:
    """`shape` as a tuple of ints >= 0; UnreadableError for anything else or for more elements than memory has bytes."""
    if type(shape) is int:
        shape = (shape,)
    if type(shape) not in (tuple, list) or len(shape) > MAX_DIMS or any(type(n) is not int or n < 0 for n in shape):
        raise UnreadableError(f"an array shape that is no short tuple of counts but a {type(shape).__name__}")
    if prod(max(n, 1) for n in shape) > 1 << 40:
        raise UnreadableError(f"an array shape of more than 2^40 elements: {shape}")
    return tuple(shape)


def plain_dtype(text: str) -> "np.dtype[Any]":
    """The element type named like "<f8"; UnreadableError unless bool, number, fixed-length text or object."""
    match = _DTYPE.fullmatch(text)
    if match is None:
        raise UnreadableError(f"array type {text[:40]!r}")
    try:
        return np.dtype("O" if match[1] == "O" else text)
    except TypeError as e:
        raise UnreadableError(f"array type {text!r}") from e


def array_of(raw: memoryview, dtype: "np.dtype[Any]", shape: tuple[int, ...], fortran: bool) -> NDArray[Any]:
    """A read-only array over `raw`, which must have exactly the bytes that shape and type need."""
    need = prod(shape) * dtype.itemsize
    if len(raw) != need:
        raise UnreadableError(f"an array {shape} of {dtype} needs {need:,} bytes and has {len(raw):,}")
    if need == 0:
        return np.zeros(shape, dtype)
    flat = np.frombuffer(raw, dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def check_key(key: Any, container_size: int = 0) -> Any:
    """`key` if it is a plain value or a flat tuple of such; UnreadableError for what could be made to hash slowly.

    Text has a keyed hash. Whole numbers and tuples have not, so that colliding ones can be computed: numbers are
    taken below 2^60, where they are their own hash, and tuples only in small containers.
    """
    items = key if type(key) is tuple else (key,)
    if len(items) > 64 or not all(x is None or type(x) in (str, bytes, int, float, bool) for x in items):
        raise UnreadableError(f"a dictionary key or set element of type {type(key).__name__}")
    if (type(key) is tuple and container_size > 1000) or any(type(x) is int and abs(x) >= 1 << 60 for x in items):
        raise UnreadableError("a dictionary or set with odd keys")
    return key


def find_constructor(module: str, name: str) -> Constructor:
    """The harmless stand-in for the global `module.name`; UnreadableError, naming it, if it is not on the list."""
    for pattern, makers in _ALLOWED.items():
        if re.fullmatch(pattern, module) and name in makers:
            return Constructor(f"{module}.{name}", makers[name])
    if re.fullmatch(r"chumpy(\.\w+)*", module) and name.isidentifier():
        return Constructor(f"{module}.{name}", lambda args, budget: _record(name, args))
    raise UnreadableError(
        f"it names the global {f'{module}.{name}'[:120]!r}, which is not on the list of plain containers, "
        "numpy arrays, scipy sparse matrices and chumpy values; nothing of it was run"
    )


def _dtype_of(value: Any) -> "np.dtype[Any]":
    if not isinstance(value, DtypeCell):
        raise UnreadableError("an array without a type")
    return value.dtype


def _raw_bytes(raw: Any, budget: Budget) -> memoryview:
    if isinstance(raw, Blob):
        return raw.raw
    if type(raw) is str:  # Python 2 wrote bytes as text
        budget.spend(len(raw))
        return memoryview(raw.encode("latin-1"))
    if type(raw) is bytes:
        return memoryview(raw)
    raise UnreadableError(f"array values stored as {type(raw).__name__}")


def _no_args(name: str, args: tuple[Any, ...], allowed: int = 0) -> None:
    if len(args) != allowed:
        raise UnreadableError(f"{name} called with {len(args)} arguments")


def _reconstruct(args: tuple[Any, ...], budget: Budget) -> ArrayCell:
    _no_args("numpy's _reconstruct", args, 3)
    if not isinstance(args[0], Constructor) or args[0].make is not _array_class:
        raise UnreadableError("numpy's _reconstruct called for something that is no array")
    return ArrayCell()


def _array_class(args: tuple[Any, ...], budget: Budget) -> ArrayCell:
    raise UnreadableError("numpy.ndarray called directly")


def _dtype(args: tuple[Any, ...], budget: Budget) -> DtypeCell:
    if len(args) not in (1, 3) or type(args[0]) is not str:
        raise UnreadableError("a structured array type" if args and type(args[0]) is list else "an unknown array type")
    return DtypeCell(plain_dtype(args[0]))


def _scalar(args: tuple[Any, ...], budget: Budget) -> Any:
    _no_args("numpy's scalar", args, 2)
    dtype = _dtype_of(args[0])
    if dtype.hasobject:
        raise UnreadableError("a numpy scalar that is an object")
    raw = _raw_bytes(args[1], budget)
    return array_of(raw, dtype, (), False)[()]


def _frombuffer(args: tuple[Any, ...], budget: Budget) -> ArrayCell:
    _no_args("numpy's _frombuffer", args, 4)
    shape, dtype = check_shape(args[2]), _dtype_of(args[1])
    if dtype.hasobject or args[3] not in ("C", "F"):
        raise UnreadableError("numpy's _frombuffer with an unknown type or order")
    return ArrayCell(array_of(_raw_bytes(args[0], budget), dtype, shape, args[3] == "F"))


def _encode(args: tuple[Any, ...], budget: Budget) -> Any:
    if len(args) != 2 or args[1] not in ("latin1", "latin-1") or not isinstance(args[0], str | Blob):
        raise UnreadableError("_codecs.encode called for something other than latin-1 text")
    text = args[0] if isinstance(args[0], str) else str(args[0].raw, args[0].encoding or "latin-1")
    budget.spend(2 * len(text))
    return text.encode("latin-1")


def _items(name: str, args: tuple[Any, ...]) -> list[Any]:
    if len(args) > 1 or (args and type(args[0]) not in (list, tuple)):
        raise UnreadableError(f"{name} made of something that is no list")
    return list(args[0]) if args else []


def _ordered_dict(args: tuple[Any, ...], budget: Budget) -> dict[Any, Any]:
    pairs = _items("an ordered dictionary", args)
    budget.spend(200 * len(pairs))
    if not all(type(p) in (list, tuple) and len(p) == 2 for p in pairs):
        raise UnreadableError("an ordered dictionary made of something other than pairs")
    return {check_key(k, len(pairs)): v for k, v in pairs}


def _set(args: tuple[Any, ...], budget: Budget) -> set[Any]:
    items = _items("a set", args)
    budget.spend(64 * len(items))
    return {check_key(x, len(items)) for x in items}


def _empty_bytes(args: tuple[Any, ...], budget: Budget) -> Any:
    if not args:
        return b""
    _no_args("bytes", args, 1)
    return args[0] if isinstance(args[0], Blob) else bytes(_raw_bytes(args[0], budget))


def _object_class(args: tuple[Any, ...], budget: Budget) -> Any:
    raise UnreadableError("object called directly")


def _reconstructor(args: tuple[Any, ...], budget: Budget) -> Any:
    _no_args("copyreg._reconstructor", args, 3)
    if not isinstance(args[0], Constructor) or args[2] is not None:
        raise UnreadableError("copyreg._reconstructor called for an unknown class")
    return args[0].make((), budget)


def _record(name: str, args: tuple[Any, ...]) -> RecordCell:
    _no_args(f"chumpy's {name}", args)
    return RecordCell(name)


def _sparse(layout: str) -> Callable[[tuple[Any, ...], Budget], SparseCell]:
    def make(args: tuple[Any, ...], budget: Budget) -> SparseCell:
        _no_args(f"scipy's {layout} matrix", args)
        return SparseCell(layout)

    return make


_Maker = Callable[[tuple[Any, ...], Budget], Any]
_ALLOWED: Final[Mapping[str, Mapping[str, _Maker]]] = MappingProxyType({
    r"numpy": {"ndarray": _array_class, "matrix": _array_class, "memmap": _array_class, "dtype": _dtype},
    r"numpy\._?core\.(multiarray|_multiarray_umath)": {"_reconstruct": _reconstruct, "scalar": _scalar},
    r"numpy\._?core\.numeric": {"_frombuffer": _frombuffer},
    r"numpy\.matrixlib\.defmatrix|numpy\.core\.defmatrix": {"matrix": _array_class},
    r"numpy\._?core\.memmap": {"memmap": _array_class},
    r"scipy\.sparse(\.\w+)*": {
        f"{layout}_{kind}": _sparse(layout) for layout in ("csc", "csr", "coo") for kind in ("matrix", "array")
    },
    r"__builtin__|builtins": {"set": _set, "frozenset": _set, "object": _object_class, "bytes": _empty_bytes,
                              "bytearray": _empty_bytes},
    r"collections": {"OrderedDict": _ordered_dict},
    r"copy_reg|copyreg": {"_reconstructor": _reconstructor},
    r"_codecs": {"encode": _encode},
})  # fmt: skip
