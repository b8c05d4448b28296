"""The stack machine of Python's pickle format, rebuilt so that no opcode can call foreign code.

The standard library's unpickler imports and calls what the file names. This one knows only plain values and the
inert constructors of `readers.inert`; every length is checked against the bytes at hand before anything is made, and
every object made is paid for from a `Budget`. Opcodes after the table in CPython's `Lib/pickletools.py`.
"""

import codecs
import re
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from openexpose.readers.inert import Blob, Cell, Constructor, check_key, find_constructor
from openexpose.readers.limits import Budget, UnreadableError

MAX_OPCODES = 5_000_000
BLOB_BYTES = 1 << 16
"""Strings from here on stay views of the file until somebody wants them."""
_SCALAR, _CONTAINER, _GLOBAL, _LINE = 64, 240, 2048, 4096
_BAD_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\(?:[^\\'\"abfnrtvx0-7\n]|[4-7][0-7][0-7])", re.DOTALL)


class PickleMachine:
    """Runs one pickle held in memory; `run` gives the value, in which arrays and the like are still cells."""

    def __init__(self, data: bytes | memoryview, budget: Budget) -> None:
        self.view = memoryview(data)
        self.budget = budget
        self.pos = 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The pickled value, cells unresolved; raises UnreadableError for anything but a whole, harmless pickle."""
        view, end = self.view, len(self.view)
        for _ in range(MAX_OPCODES):
            if self.pos >= end:
                raise UnreadableError("the pickle ends before its STOP opcode")
            op = view[self.pos]
            self.pos += 1
            if op == 0x2E:  # STOP
                return self.pop()
            action = _ACTIONS.get(op)
            if action is None:
                raise UnreadableError(f"byte {op:#04x} at offset {self.pos - 1} is no pickle opcode")
            action(self)
        raise UnreadableError(f"the pickle has more than {MAX_OPCODES:,} opcodes")

    # ---- bytes -------------------------------------------------------------------------------------------------

    def take(self, n: int) -> memoryview:
        """The next `n` bytes, without copying."""
        if n < 0 or n > len(self.view) - self.pos:
            raise UnreadableError(
                f"offset {self.pos} announces {n:,} bytes where {len(self.view) - self.pos:,} are left"
            )
        part = self.view[self.pos : self.pos + n]
        self.pos += n
        return part

    def number(self, fmt: str) -> Any:
        """One number of struct format `fmt`."""
        return struct.unpack(fmt, self.take(struct.calcsize(fmt)))[0]

    def line(self, limit: int = _LINE) -> bytes:
        """The rest of the text line, at most `limit` bytes, without its newline."""
        start = self.pos
        while self.pos < len(self.view) and self.pos - start <= limit:
            chunk = bytes(self.view[self.pos : self.pos + min(_LINE, limit + 1)])
            at = chunk.find(b"\n")
            if at >= 0:
                self.pos += at + 1
                return bytes(self.view[start : self.pos - 1])
            self.pos += len(chunk)
        raise UnreadableError(f"the text line at offset {start} does not end")

    # ---- stack -------------------------------------------------------------------------------------------------

    def push(self, value: Any, cost: int = _SCALAR) -> None:
        """Put a freshly made value on the stack and pay for it."""
        self.budget.spend(cost)
        self.stack.append(value)

    def pop(self) -> Any:
        """The value on top of the stack."""
        if not self.stack:
            raise UnreadableError(f"the pickle takes from an empty stack at offset {self.pos}")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        """The value on top, which stays there and must be exactly of type `kind`."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise UnreadableError(f"the pickle fills something that is no {kind.__name__} at offset {self.pos}")
        return self.stack[-1]

    def to_mark(self) -> list[Any]:
        """All values above the last mark."""
        if not self.marks:
            raise UnreadableError(f"the pickle misses a mark at offset {self.pos}")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def call(self, target: Any, args: Any) -> None:
        """Push what the inert constructor `target` makes of `args`."""
        if not isinstance(target, Constructor):
            raise UnreadableError(f"the pickle calls a {type(target).__name__} at offset {self.pos}")
        if type(args) is not tuple:
            raise UnreadableError(f"the pickle calls {target.name} without an argument tuple")
        self.push(target.make(args, self.budget), 2 * _CONTAINER)


def _mark(m: PickleMachine) -> None:
    m.budget.spend(_CONTAINER)
    m.marks.append(m.stack)
    m.stack = []


def _pop(m: PickleMachine) -> None:
    if m.stack or not m.marks:
        m.pop()
    else:
        m.to_mark()  # POP directly after MARK takes the mark away


def _dup(m: PickleMachine) -> None:
    value = m.pop()
    m.stack.append(value)
    m.push(value)


def _text_int(m: PickleMachine) -> None:
    text = m.line(128).rstrip(b"L")
    m.push({b"00": False, b"01": True}[text] if text in (b"00", b"01") else int(text))


def _long(m: PickleMachine, length: int) -> None:
    if length > 64:
        raise UnreadableError(f"an integer of {length} bytes at offset {m.pos}")
    m.push(int.from_bytes(m.take(length), "little", signed=True))


def _sized(m: PickleMachine, fmt: str, encoding: str | None) -> None:
    raw = m.take(m.number(fmt))
    if len(raw) >= BLOB_BYTES:
        m.push(Blob(raw, encoding), _CONTAINER)
        return
    value = bytes(raw) if encoding is None else str(raw, encoding, "surrogatepass" if encoding == "utf-8" else "strict")
    m.push(value, _SCALAR + 2 * len(raw))


def _quoted(m: PickleMachine) -> None:
    line = m.line(len(m.view)).strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
        raise UnreadableError(f"a text string at offset {m.pos} has no quotes")
    if _BAD_ESCAPE.search(line):
        raise UnreadableError(f"a text string at offset {m.pos} has unknown escapes")
    m.budget.spend(4 * len(line))
    raw = codecs.escape_decode(line[1:-1])[0]  # what CPython's pickle calls, too
    m.push(Blob(memoryview(raw), "latin-1") if len(raw) >= BLOB_BYTES else str(raw, "latin-1"), _CONTAINER)


def _raw_unicode(m: PickleMachine) -> None:
    line = m.line(len(m.view))
    m.push(str(line, "raw-unicode-escape"), _SCALAR + 8 * len(line))


def _tuple(m: PickleMachine, n: int) -> None:
    m.push(tuple([m.pop() for _ in range(n)][::-1]), _CONTAINER)


def _tuple_to_mark(m: PickleMachine) -> None:
    items = m.to_mark()
    m.push(tuple(items), _CONTAINER + 8 * len(items))


def _list_to_mark(m: PickleMachine) -> None:
    items = m.to_mark()
    m.push(items, _CONTAINER)


def _put_pairs(target: dict[Any, Any], flat: list[Any]) -> None:
    if len(flat) % 2:
        raise UnreadableError("a dictionary has a key without a value")
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        target[check_key(key, len(target))] = value


def _dict_to_mark(m: PickleMachine) -> None:
    made: dict[Any, Any] = {}
    items = m.to_mark()
    _put_pairs(made, items)
    m.push(made, _CONTAINER + 64 * len(items))


def _append(m: PickleMachine) -> None:
    value = m.pop()
    m.budget.spend(16)
    m.top(list).append(value)


def _appends(m: PickleMachine) -> None:
    items = m.to_mark()
    m.budget.spend(16 * len(items))
    m.top(list).extend(items)


def _set_item(m: PickleMachine) -> None:
    value, key = m.pop(), m.pop()
    m.budget.spend(_SCALAR)
    target = m.top(dict)
    target[check_key(key, len(target))] = value


def _set_items(m: PickleMachine) -> None:
    items = m.to_mark()
    m.budget.spend(_SCALAR * len(items))
    _put_pairs(m.top(dict), items)


def _add_items(m: PickleMachine) -> None:
    items = m.to_mark()
    m.budget.spend(_SCALAR * len(items))
    target = m.top(set)
    target.update(check_key(x, len(target) + len(items)) for x in items)


def _frozenset(m: PickleMachine) -> None:
    items = m.to_mark()
    m.push(frozenset(check_key(x, len(items)) for x in items), _CONTAINER + _SCALAR * len(items))


def _put(m: PickleMachine, index: int) -> None:
    if not m.stack:
        raise UnreadableError(f"the pickle remembers an empty stack at offset {m.pos}")
    m.budget.spend(_SCALAR)
    m.memo[index] = m.stack[-1]


def _get(m: PickleMachine, index: int) -> None:
    if index not in m.memo:
        raise UnreadableError(f"the pickle recalls entry {index}, which it never stored")
    m.push(m.memo[index], 16)


def _global(m: PickleMachine) -> None:
    module, name = str(m.line(), "utf-8"), str(m.line(), "utf-8")
    m.push(find_constructor(module, name), _GLOBAL)


def _stack_global(m: PickleMachine) -> None:
    name, module = m.pop(), m.pop()
    if type(name) is not str or type(module) is not str:
        raise UnreadableError("the pickle names a global with something that is no text")
    m.push(find_constructor(module, name), _GLOBAL)


def _reduce(m: PickleMachine) -> None:
    args = m.pop()
    m.call(m.pop(), args)


def _new_object_ex(m: PickleMachine) -> None:
    kwargs, args = m.pop(), m.pop()
    if kwargs != {}:
        raise UnreadableError("the pickle makes an object with keyword arguments")
    m.call(m.pop(), args)


def _object(m: PickleMachine) -> None:
    target, *args = m.to_mark() or [None]
    m.call(target, tuple(args))


def _instance(m: PickleMachine) -> None:
    target = find_constructor(str(m.line(), "utf-8"), str(m.line(), "utf-8"))
    m.call(target, tuple(m.to_mark()))


def _build(m: PickleMachine) -> None:
    state = m.pop()
    if not m.stack or not isinstance(m.stack[-1], Cell):
        raise UnreadableError(
            f"the pickle sets the state of a {type(m.stack[-1]).__name__ if m.stack else 'missing object'}"
        )
    m.stack[-1].set_state(state, m.budget)


def _pop_mark(m: PickleMachine) -> None:
    m.to_mark()


def _skip_proto(m: PickleMachine) -> None:
    m.take(1)


def _skip_frame(m: PickleMachine) -> None:
    m.take(8)  # a frame only says how much to read ahead; everything is in memory already


def _refuse_persistent(m: PickleMachine) -> None:
    raise UnreadableError("the pickle asks for an object outside the file (persistent id)")


def _refuse_extension(m: PickleMachine) -> None:
    raise UnreadableError("the pickle names a copyreg extension code, which stands for an unknown global")


def _refuse_buffer(m: PickleMachine) -> None:
    raise UnreadableError("the pickle asks for a buffer outside the file")


_ACTIONS: Final[Mapping[int, Callable[[PickleMachine], None]]] = MappingProxyType({
    ord("("): _mark, ord("0"): _pop, ord("1"): _pop_mark, ord("2"): _dup,
    ord("N"): lambda m: m.push(None, 8), 0x88: lambda m: m.push(True, 8), 0x89: lambda m: m.push(False, 8),
    ord("K"): lambda m: m.push(m.number("<B")), ord("M"): lambda m: m.push(m.number("<H")),
    ord("J"): lambda m: m.push(m.number("<i")), ord("G"): lambda m: m.push(m.number(">d")),
    ord("I"): _text_int, ord("L"): _text_int, ord("F"): lambda m: m.push(float(m.line(128))),
    0x8A: lambda m: _long(m, m.number("<B")), 0x8B: lambda m: _long(m, m.number("<I")),
    ord("S"): _quoted, ord("V"): _raw_unicode,
    ord("U"): lambda m: _sized(m, "<B", "latin-1"), ord("T"): lambda m: _sized(m, "<i", "latin-1"),
    0x8C: lambda m: _sized(m, "<B", "utf-8"), ord("X"): lambda m: _sized(m, "<I", "utf-8"),
    0x8D: lambda m: _sized(m, "<Q", "utf-8"), ord("C"): lambda m: _sized(m, "<B", None),
    ord("B"): lambda m: _sized(m, "<I", None), 0x8E: lambda m: _sized(m, "<Q", None),
    0x96: lambda m: _sized(m, "<Q", None),
    ord("]"): lambda m: m.push([], _CONTAINER), ord("}"): lambda m: m.push({}, _CONTAINER),
    ord(")"): lambda m: m.push((), 8), 0x8F: lambda m: m.push(set(), _CONTAINER),
    ord("t"): _tuple_to_mark, 0x85: lambda m: _tuple(m, 1), 0x86: lambda m: _tuple(m, 2), 0x87: lambda m: _tuple(m, 3),
    ord("l"): _list_to_mark, ord("d"): _dict_to_mark, ord("a"): _append, ord("e"): _appends,
    ord("s"): _set_item, ord("u"): _set_items, 0x90: _add_items, 0x91: _frozenset,
    ord("p"): lambda m: _put(m, int(m.line(32))), ord("q"): lambda m: _put(m, m.number("<B")),
    ord("r"): lambda m: _put(m, m.number("<I")), 0x94: lambda m: _put(m, len(m.memo)),
    ord("g"): lambda m: _get(m, int(m.line(32))), ord("h"): lambda m: _get(m, m.number("<B")),
    ord("j"): lambda m: _get(m, m.number("<I")),
    ord("c"): _global, 0x93: _stack_global, ord("R"): _reduce, 0x81: _reduce, 0x92: _new_object_ex,
    ord("o"): _object, ord("i"): _instance, ord("b"): _build,
    0x80: _skip_proto, 0x95: _skip_frame,
    ord("P"): _refuse_persistent, ord("Q"): _refuse_persistent,
    0x82: _refuse_extension, 0x83: _refuse_extension, 0x84: _refuse_extension,
    0x97: _refuse_buffer, 0x98: _refuse_buffer,
})  # fmt: skip
