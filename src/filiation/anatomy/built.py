"""What loaders build of one layer of a family, as data: which names they read, which biases, where experts stand.

A loader that goes by the model type builds a network and looks its tensors up by name; what else a file holds is
dropped as unexpected (ADR 0023). A family's table may know more names than its loader reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Switch:
    """A setting that says whether something is built; ``usual`` holds where the config does not say.

    ``negated`` means that the setting, where it is on, says that it is not (``no_bias``).
    """

    key: str
    usual: bool = False
    negated: bool = False

    def state(self, config: Config) -> bool | None:
        """Return whether it is on; None where its value is neither true nor false."""
        value = config.get(self.key)
        if value is None:
            return self.usual
        return value is not self.negated if isinstance(value, bool) else None


_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")
"""Keys of the number of experts; 0 means that no layer is a mixture."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Which layers of a family are mixtures of experts, by the settings that its loader asks; all, without any.

    Attributes:
        count: the key of the number of experts, where its absence means that there is no mixture.
        dense_first: the key of how many layers before the first mixture are dense.
        dense_usual: what that number is where the config does not say; None: unknown.
        step: the key of how many layers apart mixtures are; the last of each such run is one.
        dense: the key of a list of layers that are dense all the same.
        mixed: the key of a list of the layers that are mixtures, which overrides ``step``.
        period: a key that some loaders of a family follow and some do not; where it is not 1 nothing is known.
    """

    count: str | None = None
    dense_first: str | None = None
    dense_usual: int | None = None
    step: str | None = None
    dense: str | None = None
    mixed: str | None = None
    period: str | None = None

    def at(self, config: Config, layer: int) -> bool | None:
        """Return whether loaders build a mixture in this layer; None where that is not known."""
        if self.count is not None and config.get(self.count) is None:
            return False
        numbers = [config[key] for key in _COUNTS if config.get(key) is not None]
        if 0 in numbers:  # two keys that contradict each other: loaders read one of them
            return None if any(numbers) else False
        if self.period is not None and config.get(self.period) not in (None, 1):
            return None
        try:
            return self._at(config, layer)
        except TypeError:
            return None

    def _at(self, config: Config, layer: int) -> bool | None:
        if self.mixed is not None and config.get(self.mixed) is not None:
            return layer in _numbers(config[self.mixed])
        if self.dense is not None and layer in _numbers(config.get(self.dense) or ()):
            return False
        if self.step is not None and (layer + 1) % (_number(config.get(self.step, 1)) or 1):
            return False
        if self.dense_first is None:
            return True
        first = config.get(self.dense_first, self.dense_usual)
        return None if first is None else layer >= _number(first)


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return value


def _numbers(value: Any) -> frozenset[int]:
    if not isinstance(value, (list, tuple)):
        raise TypeError
    return frozenset(_number(item) for item in value)  # pyright: ignore[reportUnknownVariableType]


@dataclass(frozen=True, slots=True)
class Built:
    """What loaders build of one layer of a family.

    Attributes:
        foreign: names that the family's table knows and its loader does not read.
        biases: role -> whether it has a bias; a role that is not listed has none, but for norms, whose kind says it.
            None: those that are stored.
        dense: names of which a dense network is made; built where a layer is no mixture.
        routed: names of which a mixture is made; built where a layer is one.
        mixture: which layers are mixtures; None: no layer is one.
        switched: names that are built only where a setting is on.
    """

    foreign: frozenset[str] = frozenset()
    biases: Mapping[str, bool | Switch] | None = None
    dense: frozenset[str] = frozenset()
    routed: frozenset[str] = field(default_factory=frozenset[str])
    mixture: Mixture | None = None
    switched: Mapping[str, Switch] = field(default_factory=dict[str, Switch])

    def holds(self, name: str, is_mixture: bool | None, config: Config) -> bool:
        """Whether a loader reads this name of the table in a layer of this kind (None: unknown)."""
        if name in self.switched and self.switched[name].state(config) is False:
            return False
        if name in self.foreign or (is_mixture is True and name in self.dense):
            return False
        return not (is_mixture is False and name in self.routed)

    def is_mixture(self, config: Config, layer: int) -> bool | None:
        """Return whether a layer is a mixture; None where that is not known."""
        return self.mixture.at(config, layer) if self.mixture is not None else False

    def has_bias(self, role: str, config: Config) -> bool:
        """Whether a role has a bias, as far as that is known."""
        if self.biases is None:
            return True
        known = self.biases.get(role, False)
        return known.state(config) is not False if isinstance(known, Switch) else known


EVERY_BIAS: Mapping[str, bool | Switch] = dict.fromkeys(("q", "k", "v", "o", "gate", "up", "down"), True)
"""Of a family each of whose projections has a bias."""
