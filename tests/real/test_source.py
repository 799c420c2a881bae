"""The source wing on pinned public wheels: the cases that decided public disputes, and the shipped corpus."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import mutators, reconstructions
from filiation.repository.model import Repository, RepositoryFile
from filiation.source import CopyStatus, HeaderState, Level, examine, load
from filiation.source.corpus import dump, load_file
from filiation.source.corpus.build import build_wheel
from filiation.source.corpus.store import shipped
from tests.real import wheels

pytestmark = pytest.mark.real


def _text(package: str, version: str, path: str) -> str:
    with zipfile.ZipFile(wheels.or_skip(package, version)) as archive:
        return archive.read(path).decode()


def _repository(name: str, files: dict[str, str]) -> Repository:
    data = {path: body.encode() for path, body in files.items()}
    return Repository(name, name, {p: RepositoryFile(p, len(d)) for p, d in data.items()}, data.__getitem__)


def _model(version: str, model: str) -> str:
    return _text("transformers", version, f"transformers/models/{model}/modeling_{model}.py")


def _vllm(model: str) -> str:
    return _text("vllm", "0.2.4", f"vllm/model_executor/models/{model}.py")


@pytest.mark.parametrize("given", [True, False])
def test_pangu_is_the_same_after_renaming_with_its_notices_kept(given: bool) -> None:
    """A reconstruction from transformers 4.44.2: same after renaming, notices kept, source attributed."""
    parent = _model("4.44.2", "qwen2_moe")
    suspect = _repository("pangu", {"modeling_pangu_moe.py": reconstructions.pangu(parent)})
    references = [_repository("qwen2_moe", {"modeling_qwen2_moe.py": parent})] if given else []
    found = examine(suspect, references, load())
    assert found.level is Level.SAME_AFTER_RENAMING
    assert found.files[0].share > 0.95
    assert (found.files[0].reference_file or "").endswith("modeling_qwen2_moe.py")
    assert found.rename_map.rules[0].reference == "Qwen2Moe"
    assert found.rename_map.rules[0].suspect == "PanguProMoE"
    assert found.rename_map.one_to_one == pytest.approx(1.0, abs=0.01)
    head = found.headers[0]
    assert head.state is HeaderState.KEPT
    assert head.removed == ()
    assert head.added == ("Huawei Technologies Co., Ltd",)
    assert head.licence == "Apache-2.0"
    assert head.source_attributed
    assert Counter(c.status for c in found.copied_from) == {CopyStatus.AGREES: 12}


def test_yi_is_llama_after_two_norms_were_renamed() -> None:
    found = examine(
        _repository("yi", {"yi.py": _vllm("yi")}), [_repository("vllm", {"llama.py": _vllm("llama")})], load()
    )
    assert found.level is Level.SAME_AFTER_RENAMING
    names = {r.suspect: r.reference for r in found.rename_map.names}
    assert (names["ln1"], names["ln2"]) == ("input_layernorm", "post_attention_layernorm")
    assert found.headers[0].state is HeaderState.KEPT
    assert found.headers[0].source_attributed


@pytest.mark.parametrize("model", ["llama", "bigbird_pegasus", "mbart"])
def test_a_copy_from_a_release_between_those_of_the_corpus(model: str) -> None:
    """4.47.1 is not in the corpus; its siblings are near, and every name was replaced."""
    text = mutators.rename(_model("4.47.1", model), 1)
    found = examine(_repository("s", {"m.py": text}), (), load()).files[0]
    assert found.level is Level.SAME_AFTER_RENAMING
    assert (found.reference_file or "").endswith(f"modeling_{model}.py")


def test_siblings_and_strangers() -> None:
    library = load()
    t5 = _repository("t5", {"modeling_t5.py": _model("4.44.2", "t5").replace("T5", "Tea")})
    bloom = _repository("bloom", {"modeling_bloom.py": _model("4.44.2", "bloom")})
    assert examine(t5, [bloom], load(shipped=False)).level is Level.NO_FINDING
    with_corpus = examine(t5, [bloom], library)
    assert with_corpus.files[0].reference != "bloom"


def test_the_shipped_vllm_corpus_is_what_its_wheel_gives(tmp_path: Path) -> None:
    built = dump(build_wheel(wheels.or_skip("vllm", "0.2.4")))
    assert built == dict(shipped())["vllm.npz.xz"]
    (tmp_path / "c").write_bytes(built)
    (release,) = load_file(tmp_path / "c")
    assert len(release.entries) == 19
