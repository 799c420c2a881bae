"""Encoders out of tokenizer files: tiktoken ranks, GGUF metadata, and those tokenizer.json whose steps are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from filiation.behaviour.encoders import ByteEncoder, Encoder, PieceEncoder
from filiation.behaviour.patterns import GGML, PATTERNS
from filiation.vocabulary import Vocabulary
from filiation.vocabulary.spelling import from_byte_level, from_sentencepiece

_CONTROL, _USER, _BYTE = 3, 4, 6
_KNOWN_SIZES = {
    50256: "gpt2",
    50280: "gpt2",
    100256: "cl100k",
    128000: "cl100k",
    151643: "qwen2",
    199998: "o200k",
    200000: "o200k",
}
"""The pattern that goes with a table of tiktoken ranks of this many tokens: the file itself does not tell it."""


@dataclass(frozen=True, slots=True)
class NoEncoder:
    """Why a tokenizer file gives no encoder: a phrase key."""

    reason: str


def from_ranks(vocabulary: Vocabulary) -> Encoder | NoEncoder:
    """Return the encoder of a table of tiktoken ranks, whose pattern is known by its size."""
    ids = {token: number for number, token in enumerate(vocabulary.tokens) if token is not None}
    pattern = _KNOWN_SIZES.get(len(ids))
    return NoEncoder("pattern_not_told") if pattern is None else ByteEncoder(ids, pattern)


def from_gguf(metadata: Mapping[str, Any]) -> Encoder | NoEncoder:
    """Return the encoder of a GGUF file's own tokenizer."""
    tokens: Any = metadata.get("tokenizer.ggml.tokens")
    model = str(metadata.get("tokenizer.ggml.model", ""))
    if tokens is None or not len(tokens):
        return NoEncoder("no_tokenizer")
    listed = [token if isinstance(token, str) else str(token) for token in tokens]
    given: Any = metadata.get("tokenizer.ggml.token_type")
    types = [1] * len(listed) if given is None else [int(kind) for kind in given]
    if model == "gpt2":
        return _gguf_bytes(metadata, listed, types)
    if model in ("llama", "gemma4") and metadata.get("tokenizer.ggml.scores") is not None:
        return _gguf_pieces(metadata, listed, types)
    return NoEncoder("tokenizer_kind")


def _gguf_bytes(metadata: Mapping[str, Any], tokens: list[str], types: list[int]) -> Encoder | NoEncoder:
    pattern = GGML.get(str(metadata.get("tokenizer.ggml.pre", "default")))
    merges: Any = metadata.get("tokenizer.ggml.merges")
    if pattern is None or merges is None:
        return NoEncoder("pattern_not_told")
    ids = {
        from_byte_level(token): number
        for number, token in enumerate(tokens)
        if types[number] not in (_CONTROL, _USER)
    }
    whole = str(metadata.get("tokenizer.ggml.pre")) in ("llama-bpe", "llama3", "llama-v3", "gpt-4o", "llama4")
    return ByteEncoder(ids, pattern, merge_order(merges), whole=whole)


def _gguf_pieces(metadata: Mapping[str, Any], tokens: list[str], types: list[int]) -> Encoder:
    scores = [float(score) for score in metadata["tokenizer.ggml.scores"]]
    usable = [n for n in range(len(tokens)) if types[n] in (1, _USER)]
    ids = {from_sentencepiece(tokens[n]): n for n in reversed(usable)}
    byte_ids = [n for n in range(len(tokens)) if types[n] == _BYTE]
    order = {from_sentencepiece(tokens[n]): scores[n] for n in usable if types[n] == 1}
    fixed = sorted((tokens[n] for n in usable if types[n] == _USER), key=lambda t: (-len(t), t))
    return PieceEncoder(
        ids | {token.encode(): n for n in usable if types[n] == _USER and (token := tokens[n])},
        _ranked(order),
        tuple(byte_ids) if len(byte_ids) == 256 else (),
        bool(metadata.get("tokenizer.ggml.add_space_prefix", True)),
        int(metadata.get("tokenizer.ggml.unknown_token_id", 0)),
        tuple(fixed),
    )


def _ranked(scores: Mapping[bytes, float]) -> dict[bytes, int]:
    """Return the place of each score from the highest; equal scores share a place."""
    places = {score: n for n, score in enumerate(sorted(set(scores.values()), reverse=True))}
    return {token: places[score] for token, score in scores.items()}


def merge_order(merges: Iterable[Any]) -> dict[tuple[bytes, bytes], int]:
    """Return the order of each merge, written as ``"a b"`` or as ``["a", "b"]`` in the byte-level alphabet."""
    order: dict[tuple[bytes, bytes], int] = {}
    for number, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else list(cast("Sequence[str]", merge))
        if len(pair) == 2:
            order.setdefault((from_byte_level(pair[0]), from_byte_level(pair[1])), number)
    return order


def from_json(document: Mapping[str, Any]) -> Encoder | NoEncoder:
    """Return the encoder of a tokenizer.json whose every step is known here; others need the extra ``tokenizers``."""
    model = cast("Mapping[str, Any]", document.get("model") or {})
    vocab: Any = model.get("vocab")
    if model.get("type", "BPE") != "BPE" or not isinstance(vocab, dict) or model.get("dropout"):
        return NoEncoder("extra_tokenizers_missing")
    spellings = cast("Mapping[str, int]", vocab)
    pattern = _pattern(document.get("pre_tokenizer"))
    if pattern is not None:
        normal = _normal_form(document.get("normalizer"))
        if normal is None:
            return NoEncoder("extra_tokenizers_missing")
        ids = {from_byte_level(token): number for token, number in spellings.items()}
        order = merge_order(cast("Sequence[Any]", model.get("merges") or ()))
        return ByteEncoder(ids, pattern, order, normal or None, bool(model.get("ignore_merges")))
    if _is_llama_like(document, model):
        return _json_pieces(document, model, spellings)
    return NoEncoder("extra_tokenizers_missing")


def _normal_form(normalizer: Any) -> str | None:
    """Return the normal form, ``""`` for no normalisation, None where it is another."""
    if normalizer is None or normalizer == {"type": "Sequence", "normalizers": []}:
        return ""
    return str(normalizer["type"]) if normalizer in ({"type": "NFC"}, {"type": "NFKC"}) else None


def _pattern(step: Any) -> str | None:
    """Return the name of the pattern that a pre-tokeniser cuts by, None where it does something else."""
    steps: list[Any] = list(step.get("pretokenizers", [step])) if isinstance(step, dict) else []
    if not steps or steps[-1].get("type") != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return None
    cuts = tuple(_cut(s) for s in steps[:-1])
    if steps[-1].get("use_regex", True):
        cuts += PATTERNS["gpt2"]
    return next((name for name, patterns in PATTERNS.items() if patterns == cuts), None)


def _cut(step: Mapping[str, Any]) -> str | None:
    if step.get("type") == "Digits" and step.get("individual_digits"):
        return r"\p{N}"
    pattern: Any = step.get("pattern")
    plain = step.get("behavior") == "Isolated" and not step.get("invert") and isinstance(pattern, dict)
    found = cast("Mapping[str, Any]", pattern).get("Regex") if plain else None
    return None if found is None else _canonical(str(found))


def _canonical(pattern: str) -> str:
    """Return a pattern as it is written here: line ends escaped."""
    return pattern.replace("\r", r"\r").replace("\n", r"\n")


_MARK = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}


def _is_llama_like(document: Mapping[str, Any], model: Mapping[str, Any]) -> bool:
    steps = [{"type": "Prepend", "prepend": "\u2581"}, _MARK]
    normal = document.get("normalizer") == {"type": "Sequence", "normalizers": steps}
    return normal and document.get("pre_tokenizer") is None and model.get("byte_fallback") is True


def _json_pieces(
    document: Mapping[str, Any], model: Mapping[str, Any], spellings: Mapping[str, int]
) -> Encoder | NoEncoder:
    byte_ids = [spellings.get(f"<0x{byte:02X}>") for byte in range(256)]
    if any(number is None for number in byte_ids):
        return NoEncoder("extra_tokenizers_missing")
    taken = set(byte_ids)
    ids = {from_sentencepiece(t): n for t, n in spellings.items() if n not in taken}
    order: dict[bytes, int] = {}
    for number, merge in enumerate(cast("Sequence[Any]", model.get("merges") or ())):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        order.setdefault(from_sentencepiece("".join(pair)), number)
    return PieceEncoder(ids, order, tuple(cast("list[int]", byte_ids)))
