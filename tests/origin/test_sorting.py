from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.origin.sorting import distinct, middle, quantile


@given(st.lists(st.integers(-5, 5)))
def test_distinct_values_are_those_of_numpy(values: list[int]) -> None:
    array = np.array(values, np.int64)
    np.testing.assert_array_equal(distinct(array), np.unique(array))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_quantiles_are_those_of_numpy_to_the_last_digit(share: float, dtype: type[np.floating]) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 10, 11, 257, 3792):
        values = rng.standard_normal(n).astype(dtype)
        assert quantile(values, share) == float(np.quantile(values, share))


def test_a_comparison_imports_no_masked_arrays() -> None:
    """Numpy's own ``unique`` and ``quantile`` do, which takes longer than what they sort."""
    code = (
        "import sys; from filiation.origin.sorting import distinct, middle, quantile; import numpy as np;"
        "quantile(np.arange(9.0), 0.3); distinct(np.arange(9)); print('numpy.ma' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("rows", [5, 6, 128])
def test_medians_are_those_of_numpy(rows: int) -> None:
    values = np.random.default_rng(rows).standard_normal((7, rows)).astype(np.float32)
    assert np.array_equal(middle(values), np.median(values, axis=-1))
    assert middle(values[0]) == np.median(values[0])
