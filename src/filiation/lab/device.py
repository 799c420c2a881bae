"""Where a training runs: on a GPU when torch sees one, else on the processor, by the same code (extra `lab`).

No GPU was at hand when this was written: on the processor a run is bit-identical on one machine; on a GPU nothing was
measured, and torch does not promise that two runs give the same bits there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def device() -> Any:
    """Return the torch device that models are trained on."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def placed(values: npt.NDArray[Any]) -> Any:
    """Return an array as a tensor on that device; on the processor the two share their memory."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(values)).to(device())


def all_placed(values: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, Any]:
    """Return copies of named arrays as tensors on that device."""
    return {name: placed(value.copy()) for name, value in values.items()}


def fetched(tensor: Any) -> npt.NDArray[np.float32]:
    """Return the values of a tensor, wherever it lies; one of the processor shares its memory with the result."""
    return tensor.detach().cpu().numpy()
