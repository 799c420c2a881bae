"""Published fingerprints, written anew: what each paper says they survive they survive, and strangers stay apart."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2, combine_pvalues, spearmanr

from benchmarks.fingerprints import awm, huref, independence, reef, sigma, texts
from benchmarks.fingerprints.forward import trace
from benchmarks.fingerprints.methods import METHODS
from benchmarks.fingerprints.subject import CannotTestError, Subject, opened, shared_rows
from filiation.lab import derive, launder, shrink
from filiation.lab.forward import logits
from filiation.lab.layout import Config, Tensors
from filiation.lab.save import save_model

SIZES = {"width": 64, "layers": 4, "heads": 4, "kv": 2, "dim": 16, "ffn": 96, "vocab": 300}
Model = tuple[Tensors, Config]


def tokenizer() -> bytes:
    """Every byte a token: what a byte-level tokenizer is before its first merge, with room above."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: place for place, letter in enumerate(letters)}
    vocab |= {f"<spare{place}>": place for place in range(len(letters), SIZES["vocab"])}
    made = Tokenizer(models.BPE(vocab, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made.to_str().encode()


def llama(seed: int) -> Model:
    """A model with gains and a depth trend that every seed shares in the main, as models of one recipe do."""
    g, s = np.random.default_rng(seed), SIZES

    def matrix(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * g.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    def gain() -> np.ndarray:
        return (1 + 0.2 * g.standard_normal(s["width"])).astype(np.float32)

    t: Tensors = {"model.embed_tokens.weight": matrix(s["vocab"], s["width"]), "model.norm.weight": gain()}
    for layer in range(s["layers"]):
        at, scale = f"model.layers.{layer}.", 0.7 + 0.1 * layer + 0.15 * g.random()
        rows = {"q": s["heads"] * s["dim"], "k": s["kv"] * s["dim"], "v": s["kv"] * s["dim"]}
        t |= {f"{at}self_attn.{k}_proj.weight": matrix(n, s["width"], scale=scale) for k, n in rows.items()}
        t[at + "self_attn.o_proj.weight"] = matrix(s["width"], rows["q"], scale=scale)
        t |= {f"{at}mlp.{k}_proj.weight": matrix(s["ffn"], s["width"]) for k in ("gate", "up")}
        t[at + "mlp.down_proj.weight"] = matrix(s["width"], s["ffn"])
        t |= {f"{at}{k}_layernorm.weight": gain() for k in ("input", "post_attention")}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": s["vocab"],
        "hidden_size": s["width"],
        "intermediate_size": s["ffn"],
        "num_hidden_layers": s["layers"],
        "num_attention_heads": s["heads"],
        "num_key_value_heads": s["kv"],
        "head_dim": s["dim"],
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
    }
    return t, config


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    """A base, a stranger, a child, and the base after every change a paper speaks of."""
    folder, base = tmp_path_factory.mktemp("zoo"), llama(1)
    made = {"base": base, "stranger": llama(2), "child": derive.add_noise(*base, level=0.1, seed=3)}
    made |= {
        "ffn": launder.permute_ffn(*base, seed=4),
        "flipped": launder.flip_ffn_signs(*base, seed=4),
        "signed": launder.signed_permutation(*base, seed=5),
        "turned": launder.rotate_residual(*base, seed=6),
        "heads": launder.permute_heads(*base, seed=7),
        "values": launder.rotate_values(*base, seed=8),
        "gains": launder.rescale_gains(*base, seed=9, spread=1.0),
        "pruned": derive.take_layers(*base, layers=(0, 2, 3)),
        "narrow": shrink.prune_residual_by_norm(*base, channels=48),
        "units": shrink.prune_ffn_by_norm(*base, units=64),
        "upcycled": derive.upcycle(*base, experts=2, active=2, noise=0.0, seed=10),
        "scaled": _paired(*base),
    }
    for name, (tensors, config) in made.items():
        save_model(folder / name, tensors, config, tokenizer())
    return {name: opened(str(folder / name)) for name in made}


def _paired(tensors: Tensors, config: Config) -> Model:
    """Queries up and keys down, values up and outputs down, each layer by factors of its own."""
    out = dict(tensors)
    for layer in range(SIZES["layers"]):
        at, factor = f"model.layers.{layer}.self_attn.", np.float32((4.0, 0.3, 2.0, 0.5)[layer])
        for up, down in (("q", "k"), ("v", "o")):
            out[f"{at}{up}_proj.weight"] = out[f"{at}{up}_proj.weight"] * factor
            out[f"{at}{down}_proj.weight"] = out[f"{at}{down}_proj.weight"] / factor
    return out, config


@pytest.fixture(autouse=True)
def _short_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer and shorter passages: every byte is a token here."""
    monkeypatch.setattr(reef, "SAMPLES", 100)
    monkeypatch.setattr(independence, "PASSAGES", 6)
    monkeypatch.setattr(texts, "LONGEST", 50)


@pytest.fixture(scope="module")
def strangers(zoo: dict[str, Subject]) -> dict[str, float]:
    """What each method says of a stranger."""
    return {method.name: method.similarity(zoo["stranger"], zoo["base"]) for method in METHODS}


SCORES = {m.name: m.similarity for m in METHODS}
SURVIVES = {
    "HuRef ICS": ("child", "ffn", "flipped", "signed", "heads", "values", "pruned"),
    "REEF": ("child", "ffn", "flipped", "signed", "turned", "heads", "values", "gains", "upcycled", "scaled"),
    "AWM": ("child", "ffn", "flipped", "signed", "heads", "values", "pruned", "narrow", "upcycled", "scaled"),
    "CSW": ("child", "heads", "values", "gains"),
    "MATCH": ("child", "ffn", "signed", "turned", "heads", "values", "gains", "narrow", "units"),
    "sigma curve": ("child", "ffn", "flipped", "signed", "heads"),
}
SURVIVORS = [(method, kin) for method, kins in SURVIVES.items() for kin in kins]


@pytest.mark.parametrize(("method", "kin"), SURVIVORS)
def test_a_planted_change_scores_above_a_stranger(
    zoo: dict[str, Subject], strangers: dict[str, float], method: str, kin: str
) -> None:
    score = SCORES[method](zoo[kin], zoo["base"])
    stranger = strangers[method]
    least = {"CSW": 6.0, "MATCH": 6.0, "sigma curve": 0.99}.get(method, 0.85)
    assert score >= least
    # Curves and representations of strangers are alike too: that is what these two methods measure.
    assert stranger < {"CSW": 3.0, "MATCH": 3.0, "sigma curve": 0.99, "REEF": 0.8}.get(method, 0.2)


@pytest.mark.parametrize(
    ("method", "kin"),
    [
        ("CSW", "ffn"),  # another order is all it takes
        ("CSW", "signed"),
        ("AWM", "turned"),  # no assignment of channels undoes a rotation
        ("MATCH", "stranger"),
    ],
)
def test_what_a_method_cannot_see_it_does_not_see(zoo: dict[str, Subject], method: str, kin: str) -> None:
    assert SCORES[method](zoo[kin], zoo["base"]) < {"AWM": 0.5}.get(method, 3.0)


def test_paired_scalings_bend_the_sigma_curve_and_rescaled_gains_lower_ics(zoo: dict[str, Subject]) -> None:
    assert sigma.similarity(zoo["scaled"], zoo["base"]) < 0.9
    assert huref.similarity(zoo["gains"], zoo["base"]) < 0.9


@pytest.mark.parametrize(
    ("method", "kin", "why"),
    [
        ("CSW", "pruned", "depth"),
        ("CSW", "narrow", "shape"),
        ("CSW", "upcycled", "no up"),
        ("MATCH", "upcycled", "gated"),
    ],
)
def test_a_method_says_that_it_cannot_test(zoo: dict[str, Subject], method: str, kin: str, why: str) -> None:
    with pytest.raises(CannotTestError, match=why):
        SCORES[method](zoo[kin], zoo["base"])


def test_match_finds_the_layers_of_a_shallower_child(zoo: dict[str, Subject]) -> None:
    assert independence.match(zoo["pruned"], zoo["base"]) > 6.0
    mine, theirs = independence.activations(zoo["pruned"], zoo["base"])
    found = [min(range(4), key=lambda j: independence.partners(mine, theirs, i, j)) for i in range(3)]
    assert found == [0, 2, 3]


@pytest.mark.parametrize("name", ["base", "upcycled"])
def test_the_forward_pass_is_the_labs(zoo: dict[str, Subject], name: str) -> None:
    model, tokens = zoo[name], np.random.default_rng(0).integers(0, 200, (3, 20))
    tensors = {t: model.anatomy.checkpoint.read(t) for t in model.anatomy.checkpoint.tensors}
    theirs = logits(tensors, dict(model.settings), tokens)
    last = trace(model, tokens).hidden[-1]
    scale = np.sqrt((last * last).mean(-1, keepdims=True) + 1e-5)
    ours = last / scale * model.need("final_norm") @ model.need("embedding").T
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


def test_what_fills_a_batch_up_changes_nothing(zoo: dict[str, Subject]) -> None:
    passages = [np.arange(5) + 40, np.arange(9) + 50, np.arange(7) + 60]
    together = reef.last_tokens(zoo["base"], passages)
    for place, passage in enumerate(passages):
        alone = trace(zoo["base"], passage[None]).hidden
        for layer, both in zip(alone, together, strict=True):
            assert np.abs(layer[0, -1] - both[place]).max() < 1e-4


def test_the_passages_are_the_same_tokens_for_both(zoo: dict[str, Subject]) -> None:
    pairs = texts.rows(zoo["child"], zoo["base"], 40)
    assert len(pairs) == 40
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert texts.sentences(5) == texts.sentences(5) != texts.sentences(5, seed=2)
    mine, theirs = shared_rows(zoo["child"], zoo["base"])
    assert np.array_equal(mine, theirs)


def test_linear_cka_is_blind_to_rotation_and_scale_and_not_to_a_channels_own_scale() -> None:
    g = np.random.default_rng(0)
    x = g.standard_normal((200, 8)) * np.arange(1, 9)
    turn = launder.haar_orthogonal(8, seed=1)
    assert reef.linear_cka(x, 3 * x @ turn + 5) == pytest.approx(1)
    assert reef.linear_cka(x, x / np.arange(1, 9)) < 0.9
    assert reef.linear_cka(x, g.standard_normal((200, 8))) < 0.15


def test_channels_finds_a_signed_injection() -> None:
    g = np.random.default_rng(1)
    wide = g.standard_normal((100, 20))
    places, signs = g.permutation(20)[:12], g.choice([-1.0, 1.0], 12)
    found = awm.channels(wide, wide[:, places] * signs + 0.1 * g.standard_normal((100, 12)))
    assert np.array_equal(found[0], places)
    assert np.array_equal(found[1], signs)


def test_spearman_agrees_with_scipy_and_goes_on_where_it_underflows() -> None:
    g = np.random.default_rng(2)
    for n, mixed in ((10, 1.0), (50, 0.5), (400, 0.2)):
        a = g.permutation(n)
        b = np.argsort(np.argsort(a + mixed * n * g.standard_normal(n)))
        assert independence.spearman(a, b) == pytest.approx(np.log(spearmanr(a, b).pvalue), rel=1e-6)
    nearly = [np.arange(900), *(np.arange(900).copy() for _ in range(3))]
    for swaps, order in zip((300, 100, 40), nearly[1:], strict=True):
        order[:swaps] = order[:swaps][::-1]
    found = [independence.spearman(nearly[0], order) for order in nearly[1:]]
    assert all(one > other for one, other in pairwise(found))
    assert found[0] < -700  # where a float is 0
    one_of_all = -np.log(np.arange(1.0, 901)).sum()
    assert independence.spearman(nearly[0], np.array([1, 0, *range(2, 900)])) == pytest.approx(one_of_all)
    assert independence.spearman(np.arange(20), np.arange(20)) == pytest.approx(
        -np.log(np.arange(1.0, 21)).sum()
    )


def test_csw_is_uniform_for_strangers() -> None:
    g = np.random.default_rng(3)
    logs = [
        independence.in_order(g.standard_normal((40, 16)).astype(np.float32), g.standard_normal((40, 16)))
        for _ in range(300)
    ]
    counts = np.histogram(np.exp(logs), bins=5, range=(0, 1))[0]
    assert chi2.sf(((counts - 60) ** 2 / 60).sum(), 4) > 1e-3


def test_fisher_agrees_with_scipy() -> None:
    p = [0.3, 1e-4, 0.02, 0.9]
    expected = -np.log10(combine_pvalues(p).pvalue)
    assert independence.fisher([float(np.log(x)) for x in p]) == pytest.approx(expected)
    assert independence.fisher([-2000.0] * 6) == pytest.approx(12000 / np.log(10), rel=0.01)
    assert independence.fisher([0.0, 0.0]) == 0.0


def test_the_command_prints_one_score(
    zoo: dict[str, Subject], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.fingerprints import __main__ as command

    where = [str(Path(zoo[name].anatomy.checkpoint.locator)) for name in ("pruned", "base")]
    for method, key in (("AWM", "score"), ("CSW", "cannot")):
        monkeypatch.setattr("sys.argv", ["fingerprints", method, *where])
        command.main()
        assert key in json.loads(capsys.readouterr().out)
