"""A checkpoint folder served with torch: the child process gives the model's own logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filiation.endpoint.budget import Budget
from filiation.endpoint.model import Answer, Ask, Call, Support, chat
from filiation.endpoint.serving.generate import log_softmax
from filiation.endpoint.serving.local import serve
from filiation.endpoint.session import Session, agreed
from tests.endpoint.asking import patience

torch: Any = pytest.importorskip("torch", reason="extra 'lab' is not installed")
transformers: Any = pytest.importorskip("transformers", reason="extra 'lab' is not installed")
WORDS = [f"w{i}" for i in range(120)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer model with random weights and a tokenizer of whole words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    made = tmp_path_factory.mktemp("model")
    words = Tokenizer(WordLevel({w: i for i, w in enumerate(["<unk>", "</s>", *WORDS])}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", eos_token="</s>"
    ).save_pretrained(made)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=122,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        eos_token_id=1,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(made)
    return made


def test_a_checkpoint_answers_as_an_endpoint(folder: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = (5, 17, 99)
    with torch.inference_mode():
        exact = log_softmax(np.asarray(model(torch.tensor([ids])).logits[0].double()))
    with (
        serve(folder, name="tiny", threads=1) as served,
        Session(
            [served.endpoint("reference")], budget=Budget(), seed=1, consent=agreed, patience=patience()
        ) as live,
    ):
        able = live.records["reference"].capabilities
        whole = Call("reference", Ask(prompt=ids, top_logprobs=-1, max_tokens=4, temperature=0.0), "t")
        prompted = Call("reference", Ask(prompt=ids, prompt_logprobs=True), "t")
        talk = Call("reference", chat("w3 w4 w5", max_tokens=2), "t")
        first, prompt, said, again = live.ask([whole, prompted, talk, whole])
    assert (able.top_logprobs, able.prompt_ids, able.seed) == (-1, Support.SUPPORTED, Support.SUPPORTED)
    assert isinstance(first, Answer)
    assert first.steps is not None
    assert isinstance(again, Answer)
    assert again.steps == first.steps
    got = {t.id: t.logprob for t in first.steps[0].top}
    assert np.allclose([got[i] for i in range(122)], exact[-1], atol=1e-5)
    assert isinstance(prompt, Answer)
    assert prompt.prompt_steps is not None
    stated = [s.chosen.logprob for s in prompt.prompt_steps[1:]]
    assert np.allclose(np.array(stated, dtype=float), [exact[0][17], exact[1][99]], atol=1e-5)
    assert isinstance(said, Answer)
    assert said.usage is not None
    assert said.usage.prompt is not None
