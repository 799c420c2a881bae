"""Suspects that cannot be had from the package index, made again from public files by the edits that are known.

A reconstruction is labelled as one wherever it is used.
"""

from __future__ import annotations

import re

_BLOCK = re.compile(r"(?m)^(?=class |def |# Copied|@|[A-Z_]+ = )")
_EDITS = (
    (
        "        self.shared_expert_gate = torch.nn.Linear(config.hidden_size, 1, bias=False)\n",
        "        self.router_scale = torch.nn.Parameter(torch.ones((1, self.num_experts)))\n",
    ),
    (
        "        shared_expert_output = F.sigmoid(self.shared_expert_gate(hidden_states)) * shared_expert_output\n",
        "",
    ),
    (
        "        routing_weights = F.softmax(router_logits, dim=1, dtype=torch.float)\n",
        "        routing_weights = F.softmax(router_logits, dim=1, dtype=torch.float)\n"
        "        routing_weights = routing_weights * self.router_scale\n",
    ),
    (
        "self.o_proj = nn.Linear(self.hidden_size, self.hidden_size, bias=False)",
        "self.o_proj = nn.Linear(self.hidden_size, self.hidden_size, bias=True)",
    ),
)
_HEADER = "# coding=utf-8\n"
_ADDED = f"{_HEADER}# Copyright (c) 2025 Huawei Technologies Co., Ltd. All rights reserved.\n"


def pangu(qwen2_moe: str) -> str:
    """Return Pangu Pro MoE's modeling file as reconstructed from transformers' ``modeling_qwen2_moe.py``.

    The class prefix is renamed, the router scaled, the shared expert's gate and the flash and sdpa classes taken out,
    a bias added, a header line added, the header kept.
    """
    text = qwen2_moe.replace("Qwen2Moe", "PanguProMoE").replace("QWEN2MOE", "PANGUPROMOE")
    text = text.replace("qwen2_moe", "pangu_pro_moe").replace(_HEADER, _ADDED, 1)
    kept: list[str] = []
    for block in _BLOCK.split(text):
        named = re.match(r"class (\w+)", block)
        if named and named.group(1).endswith(("FlashAttention2", "SdpaAttention")):
            if kept and kept[-1].startswith("# Copied"):
                kept.pop()
            continue
        kept.append(block)
    text = re.sub(r'    "(?:flash_attention_2|sdpa)": \w+,\n', "", "".join(kept))
    for old, new in _EDITS:
        text = text.replace(old, new)
    return text
