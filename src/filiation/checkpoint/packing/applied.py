"""Whether loaders multiply a matrix by the scales that lie beside it.

An 8-bit matrix under its plain name (``X.weight`` beside ``X.weight_scale``) can be read in two ways, and only the
settings say which: a loader whose ``quantization_config`` names no method that has scales, or leaves the module out,
casts what is stored and passes the scales over. Where the settings can be followed to an answer it is taken. Loaders
match the names in lists of modules in several ways (in full, by beginning, ending or part, as patterns); where they
come to different answers neither reading is.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate
from functools import cached_property, lru_cache
from typing import Any, cast

# Where each method's loaders look for modules that are not quantised.
_LISTS: Mapping[str, tuple[str, ...]] = {
    "bitsandbytes": ("llm_int8_skip_modules",),
    "blockwise_int8": ("ignored_layers",),
    "compressed-tensors": ("ignore",),
    "fbgemm_fp8": ("modules_to_not_convert",),
    "fp8": ("modules_to_not_convert", "ignored_layers"),
    "modelopt": ("ignore", "exclude_modules"),
    "modelopt_fp4": ("ignore", "exclude_modules"),
    "quark": ("exclude",),
}
_ALL_LISTS = tuple(dict.fromkeys(key for keys in _LISTS.values() for key in keys))
# Modules that are no linear ones: what converts linear modules leaves them as they are.
_TABLES = frozenset(
    {
        *("embed_tokens", "wte", "wpe", "tok_embeddings", "word_embeddings", "embed_in", "embed", "shared"),
        *("embed_positions", "position_embeddings", "position_embedding", "token_type_embeddings"),
        *("embedding", "embeddings", "token_embedding", "relative_attention_bias"),
    }
)
_HEADS = frozenset({"lm_head", "output", "embed_out", "output_layer"})
# transformers keeps these types' matrices in a class of their own, other software in linear modules.
_OWN_CLASS = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer"})
_GLOBS = frozenset({"modelopt", "modelopt_fp4", "quark"})
_KEEP_THE_HEAD = frozenset({"fp8", "fbgemm_fp8", "bitsandbytes"})
# Longer lists than any model's are not gone through, nor patterns that could take for ever.
_MOST_TESTS = 10**8
_LONGEST, _MOST_QUANTIFIERS = 256, 3
_MOST_SEARCHES = 10**5
_DOTTED = re.compile(r"[\w.-]+")
# A pattern of names, single dots and ``.*`` alone.
_SIMPLE = re.compile(r"\^?(?P<body>(?:[\w-]|\\[.-]|\.\*|\.)*)(?P<end>\$?)")


class Reading(enum.Enum):
    """How loaders read a matrix that has scales beside it."""

    SCALED = "scaled"
    AS_STORED = "as stored"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Settings:
    """What the files of a model say of how it is quantised.

    Attributes:
        quantization: the ``quantization_config``, or empty.
        method: its ``quant_method``, or None.
        stated: whether the model has a configuration at all; without one the tensors decide.
        model_type: config.json's, or None.
        loaded: whether the settings stand where loaders of 8-bit weights look for them.
    """

    quantization: Mapping[str, Any]
    method: str | None
    stated: bool
    model_type: str | None = None
    loaded: bool = True

    @property
    def is_trained_on(self) -> bool:
        """Whether compressed-tensors says that weights are stored as they were before they are quantised."""
        quantised = self.quantization.get("quantization_status") in (None, "compressed")
        return self.method == "compressed-tensors" and not quantised

    def names(self, methods: frozenset[str]) -> bool:
        """Whether loaders follow one of these methods; True where there is no configuration."""
        return not self.stated or (self.loaded and self.method in methods)

    def readings(
        self, modules: Iterable[str], methods: frozenset[str], known: frozenset[str]
    ) -> Mapping[str, Reading]:
        """Return how loaders read each of these modules' weights, which have scales beside them.

        Args:
            modules: names without ``.weight``.
            methods: the methods that have such scales.
            known: all methods of which it is known whether they have.
        """
        listed = tuple(modules)
        if not self.stated:
            return dict.fromkeys(listed, Reading.SCALED)
        if self.loaded and self.method is not None and self.method not in known:
            return dict.fromkeys(listed, Reading.UNCLEAR)
        if not self.names(methods):
            return dict.fromkeys(listed, Reading.AS_STORED)
        if len(listed) * len(self._left_out) > _MOST_TESTS or len(listed) * self._searches > _MOST_SEARCHES:
            return dict.fromkeys(listed, Reading.UNCLEAR)
        decide = self._targeted if self.method == "compressed-tensors" else self._converted
        return {module: decide(module) for module in listed}

    @cached_property
    def _lists(self) -> tuple[frozenset[str], ...]:
        """The lists that the method's loaders read, as far as they are there."""
        keys = _LISTS.get(self.method or "", ())
        return tuple(frozenset(_words(self.quantization[key])) for key in keys if self.quantization.get(key))

    @cached_property
    def _left_out(self) -> tuple[str, ...]:
        """Every name in any list of modules that are not quantised."""
        keys = _LISTS["compressed-tensors"] if self.method == "compressed-tensors" else _ALL_LISTS
        return tuple(dict.fromkeys(name for key in keys for name in _words(self.quantization.get(key))))

    @cached_property
    def _searches(self) -> int:
        """How many patterns are searched for step by step."""
        names = (name.removeprefix("re:") for name in (*self._left_out, *(self._targets or ())))
        return sum(_SIMPLE.fullmatch(name) is None for name in names)

    @cached_property
    def _patterns(self) -> tuple[str, ...]:
        return tuple(name for name in self._left_out if not _DOTTED.fullmatch(name))

    @cached_property
    def _dotted(self) -> re.Pattern[str] | None:
        """All plain names as one pattern: a dot in them stands for any character to loaders that search."""
        names = [name for name in self._left_out if _DOTTED.fullmatch(name)]
        return re.compile("|".join(names)) if names else None

    @cached_property
    def _loosely(self) -> tuple[str, ...]:
        return tuple(name.lower() for name in self._left_out)

    def _converted(self, module: str) -> Reading:
        """Of methods that convert all linear modules but those that a list names."""
        last = module.rpartition(".")[2]
        if self._lists and all(module in names for names in self._lists):
            return Reading.AS_STORED
        if last in _TABLES:
            wanted = _words(self.quantization.get("modules_to_convert"))
            return Reading.SCALED if module.endswith(tuple(wanted)) else Reading.AS_STORED
        # Loaders take a name of the list as a whole name, a beginning, an ending, any part, or a pattern.
        if any(name in module.lower() for name in self._loosely):
            return Reading.UNCLEAR
        matches = _is_glob if self.method in _GLOBS else _agrees
        if any(matches(name, module) is not False for name in self._patterns):
            return Reading.UNCLEAR
        if self._dotted is not None and self._dotted.match(module):
            return Reading.UNCLEAR
        if _is_head(module) and self.method != "bitsandbytes":
            plain = not self._left_out and self.method in _KEEP_THE_HEAD
            return Reading.AS_STORED if plain else Reading.UNCLEAR
        if _is_head(module) and not self._left_out:
            return Reading.AS_STORED
        other = self.model_type in _OWN_CLASS and self.method != "bitsandbytes"
        return Reading.UNCLEAR if other else Reading.SCALED

    def _targeted(self, module: str) -> Reading:
        """Of compressed-tensors: groups of modules, by class, name or pattern, without those that are ignored."""
        ignored = _named(self._left_out, module)
        if ignored is not False:
            return Reading.UNCLEAR if ignored is None else Reading.AS_STORED
        targets = self._targets
        wanted = True if targets is None else _named(targets, module)
        if wanted is None:
            return Reading.UNCLEAR
        if wanted and self.model_type in _OWN_CLASS and "Linear" in (targets or ("Linear",)):
            return Reading.UNCLEAR
        return Reading.SCALED if wanted else Reading.AS_STORED

    @cached_property
    def _targets(self) -> tuple[str, ...] | None:
        """What the groups name; None where nothing says (loaders refuse such settings)."""
        groups: Any = self.quantization.get("config_groups")
        if not isinstance(groups, Mapping):
            other = any(self.quantization.get(key) for key in ("kv_cache_scheme", "sparsity_config"))
            return () if other else None
        found: list[str] = []
        for group in cast("Mapping[str, Any]", groups).values():
            stated = cast("Mapping[str, Any]", group) if isinstance(group, Mapping) else {}
            if isinstance(stated.get("weights"), Mapping):
                targets: Any = stated.get("targets")
                if not isinstance(targets, list):
                    return None
                found += _words(targets)
        return tuple(found)


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [item for item in items if isinstance(item, str) and item]


def _is_head(module: str) -> bool:
    *above, last = module.split(".")
    return last in _HEADS and not any(segment.isdecimal() for segment in above)


def _named(names: Iterable[str], module: str) -> bool | None:
    """Whether compressed-tensors finds a module among class names, names and ``re:`` patterns; None: not known."""
    is_table = module.rpartition(".")[2] in _TABLES
    found: list[bool | None] = []
    for name in names:
        if name.startswith("re:"):
            found.append(_agrees(name.removeprefix("re:"), module))
        else:
            found.append(name == module or name == ("Embedding" if is_table else "Linear"))
    return True if True in found else None if None in found else False


def _agrees(pattern: str, module: str) -> bool | None:
    """Whether a pattern matches from a module's beginning; None where it is not one that is tried."""
    compiled = _pattern(pattern)
    return None if compiled is None or len(module) > _LONGEST else compiled.match(module) is not None


def _is_glob(pattern: str, module: str) -> bool | None:
    """The same of names with ``*`` in them, as NVIDIA's and AMD's tools write them."""
    if pattern.startswith("re:"):
        return _agrees(pattern.removeprefix("re:"), module)
    return fnmatchcase(module, pattern)


@lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str] | None:
    wild = _SIMPLE.fullmatch(text)
    if wild is not None:
        # Literals and wildcards: what fnmatch makes of them never goes back, however many there are.
        ending = "" if wild["end"] else "*"
        pieces = (
            re.sub(r"\\(.)", r"\1", piece.replace("\\.", "\0").replace(".", "?"))
            for piece in wild["body"].split(".*")
        )
        return re.compile(translate("*".join(pieces).replace("\0", ".") + ending))
    quantifiers = len(re.findall(r"(?<!\()[*+?{]", text))
    if len(text) > _LONGEST or quantifiers > _MOST_QUANTIFIERS or re.search(r"\)[*+?{]", text):
        return None
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return None
