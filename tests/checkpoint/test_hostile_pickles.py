"""Pickles that want more than to describe tensors. Nothing they ask for may happen; each is refused by name."""

from __future__ import annotations

import builtins
import collections
import contextlib
import copyreg
import functools
import io
import os
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation import checkpoint
from filiation.checkpoint.torchfile import machine
from filiation.checkpoint.torchfile.machine import interpret
from filiation.checkpoint.torchfile.standins import (
    NAMES,
    PickleError,
    UnsafePickleError,
    UnsupportedPickleError,
)
from filiation.errors import CorruptCheckpointError, FiliationError, UnsafeCheckpointError
from tests.checkpoint.makers import check, save_legacy, save_torch, tensor, zip_torch


class Call:
    """Pickles as a call of any function with any arguments."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.args


class State:
    """Pickles as an object with state, as a whole module does."""


HOSTILE = {
    "os.system": Call(os.system, "touch {mark}"),
    "builtins.eval": Call(eval, "open('{mark}', 'w')"),
    "builtins.exec": Call(exec, "open('{mark}', 'w')"),
    "builtins.__import__": Call(builtins.__import__, "os"),
    "builtins.getattr": Call(getattr, "x", "upper"),
    "functools.partial": Call(functools.partial, print),
    "copyreg._reconstructor": Call(copyreg._reconstructor, object, object, None),  # type: ignore[attr-defined]
    "collections.deque": collections.deque([1]),
    "tests.checkpoint.test_hostile_pickles.State": State(),
}
SYSTEM = f"{os.system.__module__}.system"


@pytest.mark.parametrize("key", HOSTILE)
@pytest.mark.parametrize("form", ["zip", "legacy", "bare", "nested", "shard"])
def test_a_name_off_the_list_stops_the_reading(tmp_path: Path, key: str, form: str) -> None:
    mark = tmp_path / "executed"
    hostile = HOSTILE[key]
    if isinstance(hostile, Call) and hostile.args and isinstance(hostile.args[0], str):
        hostile = Call(hostile.function, hostile.args[0].format(mark=mark), *hostile.args[1:])
    state = {"w": tensor(np.ones(2, np.float32), "0"), "extra": hostile}
    path = tmp_path / "m.pt"
    if form == "zip":
        save_torch(path, state)
    elif form == "legacy":
        save_legacy(path, state)
    elif form == "bare":
        path.write_bytes(pickle.dumps(hostile, protocol=2))
    elif form == "nested":
        save_torch(path, {"state_dict": state["w"], "deep": [{"x": (hostile,)}]})
    else:
        path = save_torch(tmp_path / "pytorch_model-00001-of-00001.bin", state)
    with pytest.raises(UnsafeCheckpointError) as caught:
        checkpoint.open(str(path))
    # torch pickles with protocol 2, which has Python 2's module names: __builtin__, copy_reg.
    check(caught.value, UnsafeCheckpointError, file=path.name, reason=f".{key.rpartition('.')[2]}'")
    assert "safetensors" in str(caught.value.next_step)
    assert not mark.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_refused_alike(protocol: int) -> None:
    with pytest.raises(UnsafePickleError) as caught:
        interpret(io.BytesIO(pickle.dumps(Call(os.system, "true"), protocol=protocol)))
    assert caught.value.args == (SYSTEM,)


@pytest.mark.parametrize(
    "code",
    [
        b"(S'true'\nios\nsystem\n.",  # INST
        b"cos\nsystem\n(S'true'\no.",  # OBJ, in the wrong order
        b"(cos\nsystem\nS'true'\no.",  # OBJ
        b"\x80\x02cos\nsystem\nS'true'\n\x85\x81.",  # NEWOBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93S'true'\n\x85}\x92.",  # STACK_GLOBAL, NEWOBJ_EX
        b"\x82\x01.",  # EXT1
        b"\x83\x01\x01.",
        b"\x84\x01\x01\x01\x01.",
        b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.",
        b"\x80\x04\x8c\x05torch\x8c\x0aserialization.os.system\x93.",
        b"ctorch\nload\n.",
        b"ctorch.jit\nload\n.",
        b"cnumpy\nload\n.",
    ],
)
def test_every_way_to_name_a_global(code: bytes) -> None:
    with pytest.raises((UnsafePickleError, PickleError)):
        interpret(io.BytesIO(code))


@pytest.mark.parametrize(
    "code",
    [
        b"",
        b".",
        b"N",
        b"\x80\x02",
        b"R.",
        b"NNR.",
        b"N)R.",
        b"ctorch\nfloat32\n)R.",  # a dtype is not a function
        b"ccollections\nOrderedDict\nNR.",
        b"h\x07.",  # what was never remembered
        b"q\x00.",
        b"]e.",
        b"(.",
        b"t.",
        b"N}s.",
        b"}(N(lNu.",
        b"](I1\nI2\nu.",
        b"}I1\na.",
        b"NNb.",
        b"I1\nN]b.",
        b"X\xff\xff\xff\x7fabc.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffabc.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"L" + b"9" * 5000 + b"L\n.",
        b"Q.",
        b"NQ.",
        b"S'storage'\n\x85Q.",
        b"Pabc\n.",
        b"\xff.",
        b"Fabc\n.",
        b"S'abc\n.",
        b"Vab\xff\\u12\n.",
        b"\x98.",
        b"\x97.",
        b"}(tNs.",
        b"}]Ns.",
        b"}(}tNs.",
        b"ccollections\nOrderedDict\n(](KaK\x01lea.tR.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"ctorch._utils\n_rebuild_tensor_v3\n(NNNNNNNtR.",
        b"ctorch._utils\n_rebuild_parameter\n)R.",
        b"ctorch._tensor\n_rebuild_from_type_v2\n(NN)NtR.",
        b"ctorch\nSize\n(NtR.",
        b"ctorch\nSize\n)R.",
    ],
)
def test_pickles_that_are_none(code: bytes) -> None:
    with pytest.raises(PickleError) as caught:
        interpret(io.BytesIO(code))
    assert caught.value.args[0]


def test_functions_wrapped_in_themselves_do_not_exhaust_the_stack() -> None:
    wrap = b"ctorch._tensor\n_rebuild_from_type_v2\n"
    args = b")"
    for _ in range(3000):
        args = wrap + b"N" + args + b"N"
        args = b"(" + args + b"t"
    with pytest.raises(PickleError):
        interpret(io.BytesIO(wrap + args + b"R."))


def test_steps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MAX_STEPS", 1000)
    with pytest.raises(PickleError, match="more than 1000 steps"):
        interpret(io.BytesIO(b"N0" * 2000 + b"N."))


def test_copies_of_one_long_list_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MAX_STEPS", 50_000)
    pairs = b"](" + b"K\x01K\x02\x86" * 2000 + b"e\x94"
    calls = b"ccollections\nOrderedDict\n\x94" + b"h\x01h\x00\x85R0" * 100
    with pytest.raises(PickleError, match="copies more than"):
        interpret(io.BytesIO(pairs + calls + b"N."))


def test_marks_are_bounded() -> None:
    with pytest.raises(PickleError, match="nests more than"):
        interpret(io.BytesIO(b"(" * 2000 + b"N."))


def test_a_huge_memo_index_takes_no_memory() -> None:
    assert interpret(io.BytesIO(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.")) is None


def test_deep_nesting_is_survived_and_refused_later(tmp_path: Path) -> None:
    data = b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."
    with pytest.raises(FiliationError):
        checkpoint.open(str(zip_torch(tmp_path / "m.pt", data)))


def test_a_dictionary_that_holds_itself_many_times_over(tmp_path: Path) -> None:
    # Every level names the level before it twice: 2 to the 60th paths through 60 dictionaries.
    code = b"\x80\x02}\x94"
    for level in range(60):
        inner = struct.pack("<I", level)
        code += b"}\x94(K\x01j" + inner + b"K\x02j" + inner + b"u"
    with pytest.raises(CorruptCheckpointError) as caught:
        checkpoint.open(str(zip_torch(tmp_path / "m.pt", code + b".")))
    check(caught.value, CorruptCheckpointError, file="m.pt", reason="nested more than 8 deep")


def test_keys_that_would_take_for_ever_to_hash() -> None:
    # A tuple of a tuple of a tuple ..., each twice: hashing it takes 2 to the 60th steps.
    code = b"})\x940" + b"".join(b"j" + struct.pack("<I", n) + b"2\x86\x940" for n in range(60))
    with pytest.raises(PickleError, match="neither text nor a number"):
        interpret(io.BytesIO(code + b"j" + struct.pack("<I", 60) + b"Ns."))


def test_things_beside_the_weights_stand_for_nothing(tmp_path: Path) -> None:
    state = {
        "w": tensor(np.ones(2, np.float32), "0"),
        "best": np.float64(0.5),
        "history": np.arange(3),
        "seen": {1, 2},
        "order": collections.OrderedDict([("a", 1)]),
        "bytes": bytearray(b"x"),
        "point": 1 + 2j,
    }
    opened = checkpoint.open(str(save_torch(tmp_path / "m.pt", state)))
    assert list(opened.tensors) == ["w"]


@pytest.mark.parametrize(
    ("name", "what"), [("_rebuild_qtensor", "quantised by torch"), ("_rebuild_sparse_tensor", "sparse")]
)
def test_tensors_of_other_kinds_are_named(name: str, what: str) -> None:
    with pytest.raises(UnsupportedPickleError, match=what):
        interpret(io.BytesIO(f"ctorch._utils\n{name}\n)R.".encode()))


def test_the_list_of_names_holds_nothing_that_acts() -> None:
    allowed_modules = {"torch", "torch._utils", "torch._tensor", "torch.serialization", "torch.storage"}
    inert = {"torch.nn.parameter", "numpy", "numpy.core.multiarray", "numpy._core.multiarray", "_codecs"}
    plain = {"collections", "builtins", "__builtin__"}
    assert {path.rpartition(".")[0] for path in NAMES} <= allowed_modules | inert | plain
    forbidden = {"eval", "exec", "getattr", "__import__", "open", "load", "system", "compile", "type"}
    assert not {path.rpartition(".")[2] for path in NAMES} & forbidden


@given(st.binary(max_size=200))
def test_any_bytes_at_all(data: bytes) -> None:
    with contextlib.suppress(PickleError, UnsafePickleError, UnsupportedPickleError):
        interpret(io.BytesIO(data))


OPCODES = [op for op in pickletools.opcodes if op.arg is None]


@given(st.lists(st.sampled_from(OPCODES), max_size=60), st.integers(0, 3))
def test_any_sequence_of_opcodes(opcodes: list[Any], memo: int) -> None:
    names = [b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"K\x01", b"X\1\0\0\0a"]
    code = b"".join(names[i % 4] + op.code.encode("latin-1") for i, op in enumerate(opcodes))
    with contextlib.suppress(PickleError, UnsafePickleError, UnsupportedPickleError):
        interpret(io.BytesIO(names[memo] * 3 + code + b"."))
