"""Makes the golden PyTorch files of this folder. Needs torch; run once: python tests/checkpoint/golden/make_torch.py.

zip.pt is what torch.save writes today, legacy.pt what it wrote before 1.6, training.pt a training checkpoint with
the weights under "model". expected.json holds the values of the first two.
"""

from __future__ import annotations

import collections
import json
from pathlib import Path

import torch

HERE = Path(__file__).parent


def state_dict() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    shared, large = torch.randn(6, 4), torch.randn(8, 10)
    tensors = collections.OrderedDict(
        embed=shared,
        head=shared,  # tied
        transposed=large.t(),
        window=large[2:5, 1:9:2],
        row=torch.randn(1, 4)[:, :3],
        bf16=torch.randn(3, 5).bfloat16(),
        f16=torch.randn(7).half(),
        f64=torch.randn(2, 2).double(),
        f8=torch.randn(4, 4).to(torch.float8_e4m3fn),
        i64=torch.arange(5),
        u8=torch.arange(5, dtype=torch.uint8),
        truth=torch.tensor([True, False]),
        scalar=torch.tensor(3.5),
        parameter=torch.nn.Parameter(torch.randn(2, 2)),
        empty=torch.zeros(0, 3),
    )
    tensors._metadata = collections.OrderedDict([("", {"version": 1})])  # type: ignore[attr-defined]
    return tensors


def main() -> None:
    tensors = state_dict()
    torch.save(tensors, HERE / "zip.pt")
    torch.save(tensors, HERE / "legacy.pt", _use_new_zipfile_serialization=False)
    training = {
        "model": {"w": torch.full((2, 3), 2.0), "inner": {"b": torch.full((3,), 4.0)}},
        "optimizer": {
            "state": {0: {"exp_avg": torch.zeros(6)}},
            "param_groups": [{"lr": 0.1, "betas": (0.9, 0.9)}],
        },
        "epoch": 3,
        "device": torch.device("cpu"),
        "size": torch.Size([2, 3]),
    }
    torch.save(training, HERE / "training.pt")
    values = {name: [list(t.shape), t.detach().float().flatten().tolist()] for name, t in tensors.items()}
    (HERE / "expected.json").write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
