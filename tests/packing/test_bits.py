from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.checkpoint.packing import bits


def as_stream(values: list[int], width: int) -> np.ndarray:
    """Put values into one big integer, lowest first, and cut it into 32-bit words."""
    whole = sum(value << (i * width) for i, value in enumerate(values))
    count = -(-len(values) * width // 32)
    return np.array([(whole >> (32 * i)) & 0xFFFFFFFF for i in range(count)], dtype=np.uint32)


@given(width=st.integers(1, 8), blocks=st.integers(1, 4), data=st.data())
def test_a_stream_gives_back_its_values(width: int, blocks: int, data: st.DataObject) -> None:
    count = bits.block(width)[0] * blocks
    values = data.draw(st.lists(st.integers(0, 2**width - 1), min_size=count, max_size=count))
    words = as_stream(values, width).view(np.int32)
    assert bits.unpack_stream(words, width).tolist() == values
    assert bits.unpack_stream(np.stack([words, words]), width).tolist() == [values, values]


@given(width=st.integers(1, 8), start=st.integers(0, 200), length=st.integers(1, 50))
def test_the_words_of_a_range_hold_it(width: int, start: int, length: int) -> None:
    first, last = bits.word_range(start, start + length, width)
    assert first * 32 // width <= start
    assert last * 32 // width >= start + length
    assert first % bits.block(width)[1] == 0


@given(width=st.integers(1, 8), data=st.data())
def test_padded_words_give_back_their_values(width: int, data: st.DataObject) -> None:
    per_word = 32 // width
    values = data.draw(st.lists(st.integers(0, 2**width - 1), min_size=2 * per_word, max_size=2 * per_word))
    words = np.concatenate([as_stream(values[:per_word], width)[:1], as_stream(values[per_word:], width)[:1]])
    assert bits.unpack_words(words, width).tolist() == values


def test_nibbles_come_low_first_unless_asked() -> None:
    packed = np.array([[0x21, 0x43]], dtype=np.uint8)
    assert bits.nibbles(packed).tolist() == [[1, 2, 3, 4]]
    assert bits.nibbles(packed, high_first=True).tolist() == [[2, 1, 4, 3]]


@given(st.lists(st.integers(0, 63), min_size=4, max_size=4))
def test_sextets_are_one_little_endian_number(values: list[int]) -> None:
    whole = sum(value << (6 * i) for i, value in enumerate(values))
    packed = np.frombuffer(whole.to_bytes(3, "little"), dtype=np.uint8)
    assert bits.sextets(packed).tolist() == values


def test_the_small_floats_are_those_of_the_microscaling_standard() -> None:
    assert bits.E2M1[:8].tolist() == [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    assert bits.E2M1[8:].tolist() == [-value for value in bits.E2M1[:8]]
    assert bits.E2M3[[0, 1, 7, 8, 15, 16, 31]].tolist() == [0, 0.125, 0.875, 1, 1.875, 2, 7.5]
    assert bits.E2M3[32:].tolist() == [-value for value in bits.E2M3[:32]]


@pytest.mark.parametrize(("exponent", "value"), [(127, 1.0), (128, 2.0), (117, 2.0**-10), (0, 2.0**-127)])
def test_an_exponent_is_a_power_of_two(exponent: int, value: float) -> None:
    assert bits.e8m0(np.array([exponent], dtype=np.uint8)).tolist() == [value]
