"""Each kind of trace on small repositories, with what must stay quiet beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from filiation import repository, traces
from filiation.anatomy.rename import apply, smallest_rename
from filiation.repository.model import Commit, Repository, RepositoryFile
from filiation.traces import Trace, history
from filiation.traces.documents import flat
from filiation.traces.public import hash_of, public
from filiation.traces.surprise import surprise

LLAMA = [
    f"model.layers.{layer}.{part}.weight"
    for layer in range(4)
    for part in (
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
        "input_layernorm",
        "post_attention_layernorm",
    )
] + ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]


def made(place: Path, name: str, files: dict[str, Any]) -> Repository:
    folder = place / name
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / path).write_bytes(data)
    return repository.open(str(folder))


def kinds(found: traces.TracesFound) -> list[str]:
    return [t.kind for t in found.traces]


def of_kind(found: traces.TracesFound, kind: str) -> list[Trace]:
    return [t for t in found.traces if t.kind == kind]


def test_equal_files_are_found_under_other_names_and_common_ones_counted_apart(tmp_path: Path) -> None:
    code = b"def rare_function(): return 1\n" * 5
    licence = b"Permission is hereby granted, and so forth, to anyone. " * 5
    one = {"a.py": code, "LICENSE": licence, "__init__.py": b"", ".gitattributes": b"x" * 500}
    two = {"sub/renamed.py": code, "LICENSE.txt": licence, "__init__.py": b"", ".gitattributes": b"x" * 500}
    found = traces.find(made(tmp_path, "one", one), [made(tmp_path, "two", two)])
    assert kinds(found) == ["same_file", "same_common_files"]
    assert found.traces[0].numbers["reference_path"] == "sub/renamed.py"
    assert found.traces[1].numbers["count"] == 3


def test_a_weight_file_and_its_pointer_are_the_same_weights(tmp_path: Path) -> None:
    import hashlib

    data = bytes(range(256)) * 10
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(data).hexdigest()}\nsize 2560\n"
    found = traces.find(
        made(tmp_path, "one", {"model.safetensors": data}),
        [made(tmp_path, "two", {"weights.safetensors": pointer.encode()})],
    )
    assert kinds(found) == ["same_weights"]


def test_weights_are_the_same_where_only_a_listing_is_known() -> None:
    def listed(**ids: str) -> Repository:
        file = RepositoryFile("m.safetensors", 10**10, not_read="too_large", **ids)
        return Repository("x", "x", {"m.safetensors": file}, lambda _: b"")

    assert kinds(traces.find(listed(sha256="ab" * 32), [listed(sha256="ab" * 32)])) == ["same_weights"]
    assert kinds(traces.find(listed(sha256="ab" * 32), [listed(sha256="cd" * 32)])) == []


def test_equal_json_of_other_bytes(tmp_path: Path) -> None:
    document = {"a": 1, "b": [1, 2], "c": {"d": None}}
    spaced = json.dumps(document, indent=4).encode()
    found = traces.find(
        made(tmp_path, "one", {"tokenizer_config.json": document}),
        [made(tmp_path, "two", {"tokenizer_config.json": spaced})],
    )
    assert kinds(found) == ["equal_json"]


def test_broken_json_and_deep_nesting_are_passed_over(tmp_path: Path) -> None:
    files = {
        "config.json": b"{broken",
        "tokenizer.json": b"[" * 100_000,
        "generation_config.json": b"\xff\xfe",
    }
    assert (
        kinds(traces.find(made(tmp_path, "one", files), [made(tmp_path, "two", {"config.json": b"7"})])) == []
    )


def test_a_common_config_has_no_rare_values(tmp_path: Path) -> None:
    """Two Llama-like configs agree in much that says nothing."""
    config = {
        "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 4096, "rms_norm_eps": 1e-05,
        "vocab_size": 128256, "bos_token_id": 128000, "rope_theta": 500000.0, "use_cache": True, "rope_scaling": None,
        "attention_bias": False, "model_type": "llama", "torch_dtype": "bfloat16", "transformers_version": "4.40.0",
    }  # fmt: skip
    found = traces.find(
        made(tmp_path, "one", {"config.json": config}),
        [made(tmp_path, "two", {"config.json": {**config, "extra": 1}})],
    )
    (trace,) = of_kind(found, "config_values")
    assert trace.numbers["equal"] == 13
    assert trace.numbers["rare"] == []
    assert "dangling_reference" not in kinds(found)


def test_a_key_that_no_family_has_is_rare_even_when_nested(tmp_path: Path) -> None:
    config = {"vision_config": {"slice_grid_mode": 7}, "hidden_act": "silu"}
    found = traces.find(
        made(tmp_path, "one", {"config.json": config}),
        [made(tmp_path, "two", {"config.json": {**config, "x": 1}})],
    )
    (trace,) = of_kind(found, "config_values")
    assert [entry["key"] for entry in trace.numbers["rare"]] == ["vision_config.slice_grid_mode"]


@given(
    st.recursive(st.integers(), lambda v: st.dictionaries(st.text(max_size=3), v, max_size=3), max_leaves=15)
)
def test_flattening_keeps_every_value(document: Any) -> None:
    if isinstance(document, dict):

        def leaves(value: Any) -> int:
            if isinstance(value, dict) and value:
                return sum(leaves(inner) for inner in value.values())
            return 1

        assert len(list(flat(document))) == (leaves(document) if document else 0)


def test_added_tokens_at_equal_ids(tmp_path: Path) -> None:
    def tokenizer(**tokens: int) -> dict[str, Any]:
        listed = [{"content": t, "id": n} for t, n in tokens.items()]
        return {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": listed}

    one = tokenizer(**{"<s>": 1, "<quad>": 5, "<moved>": 6, "<|reserved_special_token_3|>": 7})
    two = tokenizer(**{"<s>": 1, "<quad>": 5, "<moved>": 9, "<|reserved_special_token_3|>": 7})
    found = traces.find(
        made(tmp_path, "one", {"tokenizer.json": one}), [made(tmp_path, "two", {"tokenizer.json": two})]
    )
    (trace,) = of_kind(found, "added_tokens")
    assert trace.numbers["at_equal_ids"] == 3
    assert trace.numbers["rare"] == [{"id": 5, "token": "<quad>"}]


def test_what_dangles(tmp_path: Path) -> None:
    config = {
        "auto_map": {"AutoModel": "modeling_gone.Model", "AutoConfig": "here.Config", "AutoX": "here.NotThere",
                     "AutoY": "other/repo--modeling_x.Y"},
        "architectures": ["LlamaForCausalLM", "NobodysModel"],
        "_name_or_path": "someone/other-model",
    }  # fmt: skip
    code = b"from .missing_part import thing\nfrom .here import Config\nclass Config: pass\n"
    suspect = made(tmp_path, "suspect", {"config.json": config, "here.py": code})
    reference = made(tmp_path, "other-model", {"modeling_gone.py": b"class Model: pass"})
    found = traces.find(suspect, [reference])
    dangling = {
        (t.numbers["key"], t.numbers["name"], t.reference) for t in of_kind(found, "dangling_reference")
    }
    assert dangling == {
        ("auto_map.AutoModel", "modeling_gone.py", 0),
        ("auto_map.AutoX", "NotThere", None),
        ("architectures", "NobodysModel", None),
        ("import", "missing_part.py", None),
    }
    foreign = {(t.numbers["key"], t.reference) for t in of_kind(found, "foreign_reference")}
    assert foreign == {("auto_map.AutoY", None), ("_name_or_path", 0)}


def test_a_complete_repository_has_no_dangling_reference(tmp_path: Path) -> None:
    config = {
        "auto_map": {"AutoModel": "modeling_x.Model"},
        "architectures": ["Model"],
        "_name_or_path": "org/Mine",
    }
    code = b"from .sub import helper\nfrom transformers import PreTrainedModel\nclass Model(PreTrainedModel): pass"
    files = {"config.json": config, "modeling_x.py": code, "sub/__init__.py": b"def helper(): pass"}
    assert kinds(traces.find(made(tmp_path, "mine", files))) == []


def test_a_star_import_or_broken_code_is_no_proof(tmp_path: Path) -> None:
    config = {"auto_map": {"A": "star.Model", "B": "broken.Model"}, "architectures": ["Model"]}
    files = {"config.json": config, "star.py": b"from x import *", "broken.py": b"def (:"}
    assert kinds(traces.find(made(tmp_path, "mine", files))) == []


def index(names: list[str], total: int = 1000) -> dict[str, Any]:
    return {"metadata": {"total_size": total}, "weight_map": dict.fromkeys(names, "model-1.safetensors")}


def test_equal_public_names_surprise_nobody(tmp_path: Path) -> None:
    one = made(tmp_path, "one", {"model.safetensors.index.json": index(LLAMA, 5)})
    two = made(tmp_path, "two", {"model.safetensors.index.json": index(LLAMA, 6)})
    (trace,) = traces.find(one, [two]).traces
    assert (trace.kind, trace.shows) == ("tensor_names", "shows.tensor_names")
    assert trace.numbers["log10_surprise"] == 0
    assert trace.numbers["rare_segments"] == []


def test_names_that_nobody_else_uses_surprise() -> None:
    odd = [name.replace("self_attn", "oddly_named").replace("mlp", "strange_part") for name in LLAMA]
    assert surprise(odd, odd, {}).log10 > 4
    assert {"oddly_named", "strange_part"} <= set(surprise(odd, odd, {}).rare)


def test_a_long_map_is_no_trace(tmp_path: Path) -> None:
    """Independent names that only a dictionary of renames could join."""
    parts = sorted({p for name in LLAMA for p in name.split(".") if not p.isdecimal()})
    other = [".".join(f"z{parts.index(p)}" if p in parts else p for p in name.split(".")) for name in LLAMA]
    one = made(tmp_path, "one", {"model.safetensors.index.json": index(LLAMA, 5)})
    two = made(tmp_path, "two", {"model.safetensors.index.json": index(other, 6)})
    assert kinds(traces.find(one, [two])) == []


@given(
    st.dictionaries(
        st.sampled_from(["model", "self_attn", "mlp"]), st.sampled_from(["aa", "bb", "cc"]), max_size=3
    )
)
def test_planted_renames_are_found(planted: dict[str, str]) -> None:
    if len(set(planted.values())) < len(planted):
        return
    renamed = [apply(planted, name) for name in LLAMA]
    found = smallest_rename(renamed, LLAMA)
    assert found.explained == len(LLAMA)
    assert len(found.mapping) <= len(planted)


def test_shapes_and_bytes_come_from_headers(tmp_path: Path) -> None:
    tensors = {name: np.zeros((2, 3), np.float32) for name in LLAMA}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        prefix = "x." if name == "one" else ""
        save_file(
            {prefix + key: value for key, value in tensors.items()}, tmp_path / name / "model.safetensors"
        )
    found = traces.find(repository.open(str(tmp_path / "one")), [repository.open(str(tmp_path / "two"))])
    assert kinds(found) == ["tensor_names", "tensor_shapes", "total_bytes"]
    assert found.traces[1].numbers == {"compared": len(LLAMA), "equal": len(LLAMA)}
    assert found.traces[2].numbers["total_bytes"] == 24 * len(LLAMA)


@pytest.mark.parametrize(
    "names", [[".".join("ab" * 40)] * 1, [f"kind{n}x.weight" for n in range(2000)]], ids=["deep", "many"]
)
def test_names_without_measure_are_not_compared(tmp_path: Path, names: list[str]) -> None:
    one = made(tmp_path, "one", {"model.safetensors.index.json": index(names, 5)})
    found = traces.find(one, [made(tmp_path, "two", {"model.safetensors.index.json": index(LLAMA, 5)})])
    assert kinds(found) == ["total_bytes"]
    assert found.not_examined == (("model.safetensors.index.json", "names_not_compared"),)


@pytest.mark.parametrize(
    "about", [[1], "x", {"total_size": "many"}, {"total_size": -4}, {"total_size": 1e300}]
)
def test_an_odd_index_is_read_for_its_names(tmp_path: Path, about: Any) -> None:
    odd = {**index(LLAMA), "metadata": about}
    found = traces.find(
        made(tmp_path, "one", {"model.safetensors.index.json": odd}),
        [made(tmp_path, "two", {"model.safetensors.index.json": index(LLAMA)})],
    )
    assert kinds(found) == ["tensor_names"]


def test_a_lying_weight_header_is_passed_over(tmp_path: Path) -> None:
    files = {"model.safetensors": b"\xff" * 64, "x.gguf": b"GGUF" + b"\xff" * 60}
    assert kinds(traces.find(made(tmp_path, "one", files), [made(tmp_path, "two", {"a": b"b" * 99})])) == []


def with_commits(*times: str) -> Repository:
    commits = tuple(Commit(f"{n:040d}", t, t, "s") for n, t in enumerate(times))
    return Repository("x", "x", {}, lambda _: b"", commits=commits)


@pytest.mark.parametrize(
    ("mine", "theirs", "shows"),
    [
        ("2024-05-27T17:30:00-07:00", "2024-05-28T00:00:00+00:00", "shows.suspect_later"),
        ("2024-05-27T17:30:00-07:00", "2024-05-28T01:00:00+00:00", "shows.suspect_earlier"),
        ("2024-05-19", "2024-05-18T23:00:00+00:00", "shows.suspect_later"),
    ],
)
def test_times_of_other_zones_are_compared_as_moments(mine: str, theirs: str, shows: str) -> None:
    found = list(history.traces(with_commits(mine), with_commits(theirs), 0))
    assert [t.kind for t in found] == ["shared_commits", "commit_order"]
    assert found[1].shows == shows


def test_times_that_are_none_are_passed_over() -> None:
    found = list(history.traces(with_commits("yesterday"), with_commits("2024-05-19"), 0))
    assert [t.kind for t in found] == ["shared_commits"]


def test_the_table_of_public_values() -> None:
    table = public()
    assert table.families > 500
    assert table.families_with_key("hidden_size") > 200
    assert table.families_with_key("query_num") == 0
    assert table.families_with_value("hidden_act", "silu") > 50
    assert table.families_with_name("q_proj") > 100
    assert table.families_with_name("weight") == len(table.named_families)
    assert table.has_class("LlamaForCausalLM")
    assert not table.has_class("MiniCPMV")
    assert hash_of("q_proj") in table.names_of("llama")
    assert table.has_token("<|im_start|>")
    assert not table.has_token("<quad>")
