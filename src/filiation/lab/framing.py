"""An independent model dressed up as a child: what can be copied in seconds and must not carry a verdict.

`receiver` is the independent model, `donor` the one it is to look like; both of one shape. Same convention as
`filiation.lab.derive`. Grafting layers is `derive.graft`.
"""

from __future__ import annotations

import numpy as np

from filiation.lab.layout import Config, Tensors, is_gain

Result = tuple[Tensors, Config]


def copy_sigmas(receiver: Tensors, donor: Tensors, config: Config) -> Result:
    """Rescale every matrix to the donor's standard deviation: the curve of arXiv 2507.03014 is then equal."""
    out: Tensors = {}
    for name, value in receiver.items():
        own = float(value.std())
        scale = float(donor[name].std()) / own if value.ndim == 2 and own > 0 else 1.0
        out[name] = (value * scale).astype(np.float32)
    return out, dict(config)


def copy_spectra(receiver: Tensors, donor: Tensors, config: Config) -> Result:
    """Give every matrix the donor's singular values in its own singular directions: every spectrum is then equal."""
    out: Tensors = {}
    for name, value in receiver.items():
        out[name] = value.copy()
        if value.ndim == 2:
            left, _, right = np.linalg.svd(value.astype(np.float64), full_matrices=False)
            spectrum = np.linalg.svd(donor[name].astype(np.float64), compute_uv=False)
            out[name] = ((left * spectrum) @ right).astype(np.float32)
    return out, dict(config)


def copy_gains(receiver: Tensors, donor: Tensors, config: Config) -> Result:
    """Take the donor's norm gains: a few kilobytes that carry labels."""
    out = {name: (donor[name] if is_gain(name) else value).copy() for name, value in receiver.items()}
    return out, dict(config)


def copy_settings(receiver: Tensors, donor_config: Config) -> Result:
    """Take the donor's configuration word for word; the tokenizer is the zoo's own already."""
    return {name: value.copy() for name, value in receiver.items()}, dict(donor_config)
