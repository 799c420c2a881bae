"""Order-free neuron matching: do gate, up and down pick the same partner? (the MATCH idea of arXiv 2502.12292)"""

from __future__ import annotations

import numpy as np

from filiation.likeness.subject import Measured, Subject
from filiation.origin.pairing import ffn_views
from filiation.origin.scale import over, wide


class NeuronMatch:
    """Share of neurons whose best partner by gate rows is also their best by \\|up\\| rows; chance is one in n.

    Blind to the order and signs of neurons. Its null is not proven: neurons that any training grows could make
    independent models agree, so it is printed beside chance and carries no verdict.
    """

    name = "neuron_match"
    statistic_name = "share_agreeing"
    background = None

    def measure(self, subject: Subject) -> Measured:
        """Match each paired layer's neurons twice and count agreements."""
        agree = n = 0
        for pair in subject.layers:
            for s, c in ffn_views(subject.pairing, pair, with_down=False):
                if not s.signed or len(c) < 2:
                    continue
                by_gate = (s.normed @ c.normed.T).argmax(axis=1)
                by_up = np.abs(_unit(s.signed[0]) @ _unit(c.signed[0]).T).argmax(axis=1)
                agree += int((by_gate == by_up).sum())
                n += len(s)
        if not n:
            return Measured(None, reason="no_gated_ffn")
        return Measured(agree / n, n)


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = wide(rows)
    return over(rows, np.linalg.norm(rows, axis=1, keepdims=True))
