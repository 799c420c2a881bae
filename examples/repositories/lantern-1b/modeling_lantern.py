"""An attention model."""
import math
import torch
import torch.nn.functional as F
from torch import nn
from transformers.activations import ACT2FN


class LanternNorm(nn.Module):
    """Scales."""

    def __init__(self, width: int, eps: float = 1e-6):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.variance_epsilon = eps

    def forward(self, hidden):
        kind = hidden.dtype
        hidden = hidden.to(torch.float32)
        variance = hidden.pow(2).mean(-1, keepdim=True)
        hidden = hidden * torch.rsqrt(variance + self.variance_epsilon)
        return self.gain * hidden.to(kind)


class LanternAttention(nn.Module):
    def __init__(self, config, layer: int = 0):
        super().__init__()
        self.config = config
        self.layer = layer
        self.heads = config.num_heads
        self.head_width = config.width // config.num_heads
        if self.head_width * self.heads != config.width:
            raise ValueError(f"width {config.width} is not divisible")
        self.query = nn.Linear(config.width, config.width, bias=False)
        self.key = nn.Linear(config.width, config.width, bias=False)
        self.value = nn.Linear(config.width, config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=config.attention_bias)

    def _split(self, x, length, batch):
        return x.view(batch, length, self.heads, self.head_width).transpose(1, 2).contiguous()

    def forward(self, hidden, mask=None, positions=None):
        batch, length, _ = hidden.size()
        query = self._split(self.query(hidden), length, batch)
        key = self._split(self.key(hidden), length, batch)
        value = self._split(self.value(hidden), length, batch)
        scores = torch.matmul(query, key.transpose(2, 3)) / math.sqrt(self.head_width)
        if mask is not None:
            scores = scores + mask[:, :, :, : key.shape[-2]]
        weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
        mixed = torch.matmul(weights, value).transpose(1, 2).reshape(batch, length, -1)
        return self.out(mixed), weights


class LanternBlock(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.attention = LanternAttention(config, layer)
        self.ln1 = LanternNorm(config.width, eps=config.eps)
        self.ln2 = LanternNorm(config.width, eps=config.eps)
        self.up = nn.Linear(config.width, config.inner, bias=False)
        self.down = nn.Linear(config.inner, config.width, bias=False)
        self.act = ACT2FN[config.hidden_act]

    def forward(self, hidden, mask=None):
        residual = hidden
        mixed, weights = self.attention(self.ln1(hidden), mask=mask)
        hidden = residual + mixed
        residual = hidden
        hidden = self.down(self.act(self.up(self.ln2(hidden))))
        return residual + hidden, weights


def chosen_sizes(images, grids, limit):
    sizes = []
    for image in images:
        if image.area > limit:
            sizes.append(image.area // limit)
    best = min(grids, key=lambda grid: abs(grid - len(sizes)))
    total = sum(sizes) if sizes else 0
    return best, total
