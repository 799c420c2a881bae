"""Training: what fixes a run, that it resumes to the same weights, and that it agrees with the numpy forward pass."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from filiation.errors import UsageError
from filiation.lab.bpe import unigram_entropy
from filiation.lab.derive import upcycle
from filiation.lab.extended import add_biases, add_sinks
from filiation.lab.forward import logits
from filiation.lab.llama import Shape, initial_weights
from filiation.lab.train import Recipe, Rows, Stream, train, windows

SMALL = Shape(vocab=32, width=16, layers=2, heads=2, kv_heads=1, head_dim=8, ffn=24, context=16)
RECIPE = Recipe(steps=30, rate=1e-2, order_seed=1, warmup=5, batch=4, context=16)
STREAM = (np.arange(4000) * 7 + np.arange(4000) // 3) % 32


def test_initial_weights_follow_the_seed_alone() -> None:
    one, two, other = (initial_weights(SMALL, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    matrices = [name for name in one if one[name].ndim == 2]
    assert not any(np.array_equal(one[name], other[name]) for name in matrices)
    assert all((one[name] == 1).all() for name in one if one[name].ndim == 1)
    demo = initial_weights(Shape(), 1)
    assert demo["model.embed_tokens.weight"].std() == pytest.approx(0.05, rel=0.01)
    assert demo["model.layers.3.mlp.down_proj.weight"].std() == pytest.approx(0.05 / math.sqrt(12), rel=0.02)


def test_the_rate_warms_up_and_falls_to_its_floor() -> None:
    rates = [RECIPE.rate_at(step) for step in range(RECIPE.steps)]
    assert rates[0] == pytest.approx(RECIPE.rate / 5)
    assert max(rates) == pytest.approx(RECIPE.rate)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert RECIPE.rate_at(RECIPE.steps) == pytest.approx(RECIPE.rate * RECIPE.floor)


def test_a_step_sees_the_same_windows_whenever_it_is_asked() -> None:
    stream = Stream(STREAM)
    first, again, later = (stream.batch(RECIPE, step) for step in (3, 3, 4))
    assert np.array_equal(first[0], again[0])
    assert not np.array_equal(first[0], later[0])
    assert np.array_equal(first[0][:, 1:], first[1][:, :-1])
    other = stream.batch(replace(RECIPE, order_seed=2), 3)
    assert not np.array_equal(first[0], other[0])


def test_rows_come_once_an_epoch() -> None:
    inputs = np.repeat(np.arange(10)[:, None], 16, axis=1)
    rows = Rows(inputs, inputs)
    seen = np.concatenate([rows.batch(RECIPE, step)[0][:, 0] for step in range(5)])
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:])


def test_windows_lie_inside_the_stream_and_are_shifted_by_one() -> None:
    inputs, targets = windows(STREAM, 16, 7)
    assert inputs.shape == targets.shape == (7, 16)
    assert np.array_equal(inputs[:, 1:], targets[:, :-1])
    assert np.array_equal(inputs[0], STREAM[:16])


def test_unigram_entropy_of_even_tokens_is_the_log_of_their_number() -> None:
    even = np.tile(np.arange(8), 100)
    assert unigram_entropy(even, even, 8) == pytest.approx(math.log(8))


class TestWithTorch:
    """What needs the extra `lab`."""

    @pytest.fixture(autouse=True)
    def _extra(self) -> None:
        pytest.importorskip("torch", reason="needs the extra 'lab'")

    def run(self, state: Path, recipe: Recipe = RECIPE, seed: int = 1):
        start = initial_weights(SMALL, seed)
        return train("run", start, SMALL.config(), Stream(STREAM), recipe, windows(STREAM, 16, 8), state)

    def test_the_loss_falls_and_the_result_is_repeatable(self, tmp_path: Path) -> None:
        one, two = self.run(tmp_path / "one"), self.run(tmp_path / "two")
        assert one.end_loss < one.start_loss - 0.3
        assert one.tokens == 30 * 4 * 16
        assert all(np.array_equal(one.weights[name], two.weights[name]) for name in one.weights)

    def test_a_run_cut_off_resumes_to_the_same_weights(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = self.run(tmp_path / "whole")
        monkeypatch.setattr("filiation.lab.train.SAVE_EVERY", 10)

        class CutOff(Exception):
            pass

        original = Stream.batch

        def cut(self: Stream, recipe: Recipe, step: int):
            if step == 17:
                raise CutOff
            return original(self, recipe, step)

        monkeypatch.setattr(Stream, "batch", cut)
        with pytest.raises(CutOff):
            self.run(tmp_path / "cut")
        monkeypatch.setattr(Stream, "batch", original)
        resumed = self.run(tmp_path / "cut")
        assert all(np.array_equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)

    def test_a_state_of_another_run_is_refused(self, tmp_path: Path) -> None:
        self.run(tmp_path)
        for changed in ({"seed": 2}, {"recipe": replace(RECIPE, rate=1e-3)}):
            with pytest.raises(UsageError, match="cannot resume"):
                self.run(tmp_path, **changed)

    def test_the_order_of_the_tensors_is_part_of_a_run(self, tmp_path: Path) -> None:
        self.run(tmp_path)
        start = dict(reversed(initial_weights(SMALL, 1).items()))
        with pytest.raises(UsageError, match="cannot resume"):
            train("run", start, SMALL.config(), Stream(STREAM), RECIPE, windows(STREAM, 16, 8), tmp_path)

    @pytest.mark.parametrize("experts", [0, 3])
    def test_torch_and_numpy_compute_the_same(self, experts: int) -> None:
        import torch

        from filiation.lab.llama import hidden_states

        tensors, config = initial_weights(SMALL, 3), SMALL.config()
        if experts:
            tensors, config = upcycle(
                tensors, config, experts=experts, active=2, noise=0.5, seed=1, router_std=1.0
            )
        tokens = STREAM[:48].reshape(3, 16)
        with torch.no_grad():
            params = {name: torch.from_numpy(value) for name, value in tensors.items()}
            hidden, _ = hidden_states(params, torch.from_numpy(tokens), config)
            theirs = (hidden @ params["model.embed_tokens.weight"].T).numpy()
        np.testing.assert_allclose(logits(tensors, config, tokens), theirs, atol=1e-5)

    @pytest.mark.parametrize("change", [add_biases, add_sinks])
    def test_biases_and_sinks_are_computed_and_learned_alike(self, change, tmp_path: Path) -> None:
        import torch

        from filiation.lab.llama import hidden_states

        start, config = change(initial_weights(SMALL, 3), SMALL.config())
        done = train("run", start, config, Stream(STREAM), RECIPE, windows(STREAM, 16, 8), tmp_path)
        added = [name for name in start if name.endswith((".bias", ".sinks"))]
        moved = {name: float(np.abs(done.weights[name] - start[name]).max()) for name in added}
        assert min(size for name, size in moved.items() if "k_proj" not in name) > 1e-3, moved
        tokens = STREAM[:48].reshape(3, 16)
        with torch.no_grad():
            params = {name: torch.from_numpy(value) for name, value in done.weights.items()}
            hidden, _ = hidden_states(params, torch.from_numpy(tokens), config)
            theirs = (hidden @ params["model.embed_tokens.weight"].T).numpy()
        np.testing.assert_allclose(logits(done.weights, config, tokens), theirs, atol=1e-4)

    @pytest.mark.parametrize("experts", [0, 3])
    def test_transformers_loads_and_computes_the_same(self, experts: int, tmp_path: Path) -> None:
        import torch

        transformers = pytest.importorskip("transformers", reason="needs the extra 'lab'")
        from filiation.lab.save import as_stored, save_model

        tensors, config = initial_weights(SMALL, 3), SMALL.config()
        if experts:
            tensors, config = upcycle(
                tensors, config, experts=experts, active=2, noise=0.5, seed=1, router_std=1.0
            )
        save_model(tmp_path, tensors, config)
        model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
        tokens = STREAM[:48].reshape(3, 16)
        with torch.no_grad():
            theirs = model(torch.from_numpy(tokens)).logits.numpy()
        np.testing.assert_allclose(logits(as_stored(tensors), config, tokens), theirs, atol=1e-4)


def test_tokenizer_round_trip_and_masked_prompts(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="needs the extra 'lab'")
    from filiation.lab.bpe import encode_pairs, encode_stream, train_tokenizer
    from filiation.lab.text import Corpus, Document, Pair

    text = "the quick brown fox jumps over the lazy dog; été\n" * 20
    names = [f"m{i}.py" for i in range(40)]
    corpus = Corpus(tuple(Document(name, "prose", text) for name in names), ())
    tokenizer, again = train_tokenizer(corpus, 285), train_tokenizer(corpus, 285)
    assert tokenizer.to_str() == again.to_str()
    assert tokenizer.get_vocab_size() == 285
    assert tokenizer.token_to_id("<|endoftext|>") == 0
    stream = encode_stream(tokenizer, [text, "a fox"])
    assert list(np.flatnonzero(stream == 0))[-1] == len(stream) - 1
    assert tokenizer.decode(list(stream[: np.flatnonzero(stream == 0)[0]])) == text
    pairs = [Pair("the dog?\n", "the lazy dog\n"), Pair("x" * 90, "y")]
    inputs, targets = encode_pairs(tokenizer, pairs, 32)
    assert inputs.shape == targets.shape == (1, 32)
    asked = len(tokenizer.encode(pairs[0].prompt).ids)
    learned = np.flatnonzero(targets[0] >= 0)
    assert learned[0] == asked - 1
    assert tokenizer.decode(list(targets[0][learned][:-1])) == pairs[0].answer
    assert targets[0][learned[-1]] == 0
