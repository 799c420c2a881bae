"""From a locator to a checkpoint: which place, which format, which settings, and what is said about it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from filiation import checkpoint
from filiation.checkpoint import locate
from filiation.checkpoint.hashing import hash_files
from filiation.errors import (
    BudgetError,
    CorruptCheckpointError,
    NonFiniteWeightsError,
    NotFoundError,
    UnsupportedFormatError,
    UsageError,
)
from tests.checkpoint.makers import check, craft, entry, model, save_torch, tensor, weights, write_gguf


@pytest.mark.parametrize("locator", ["", "  ", "a\0b"])
def test_a_locator_that_names_nothing(locator: str) -> None:
    with pytest.raises(UsageError) as caught:
        checkpoint.open(locator)
    assert caught.value.exit_code == 2
    assert caught.value.next_step


@pytest.mark.parametrize(
    "locator", ["./none", "/no/where", "~/none-of-this", "none.safetensors", "gone/m.gguf", "lone"]
)
def test_a_path_that_is_not_there(locator: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        checkpoint.open(locator)
    check(caught.value, NotFoundError, file=locator, reason="No such file or folder")


def test_a_path_comes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model(tmp_path / "org" / "name")
    monkeypatch.chdir(tmp_path)
    opened = checkpoint.open("org/name")
    assert (opened.locator, opened.name, opened.is_local) == ("org/name", "name", True)


@pytest.mark.parametrize(
    ("locator", "module"),
    [
        ("org/name", "hub"),
        ("org/name@v1", "hub"),
        ("hf://org/name", "hub"),
        ("https://huggingface.co/org/name", "hub"),
        ("https://example.org/m.safetensors", "http"),
        ("http://127.0.0.1:1/m.gguf", "http"),
        ("s3://bucket/model", "fsspec"),
        ("gs://bucket/model", "fsspec"),
    ],
)
def test_every_other_locator_goes_to_its_place(
    locator: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    reached: list[tuple[str, str]] = []
    for name in ("hub", "http", "fsspec"):
        place = importlib.import_module(f"filiation.checkpoint.sources.{name}")
        monkeypatch.setattr(place, "open_source", lambda loc, name=name: reached.append((name, loc)))
    locate.open_source(locator)
    assert reached == [(module, locator)]


def test_a_mistyped_folder_is_told_from_a_hub_id(monkeypatch: pytest.MonkeyPatch) -> None:
    from filiation.checkpoint.sources import hub

    def refuse(locator: str) -> Any:
        raise NotFoundError("none", file=locator, reason="No such repository.", next_step="Check the name.")

    monkeypatch.setattr(hub, "open_source", refuse)
    with pytest.raises(NotFoundError) as caught:
        checkpoint.open("modles/mine")
    assert caught.value.next_step == "Check the name. (There is also no local folder of this name.)"


def test_file_addresses(tmp_path: Path) -> None:
    folder = model(tmp_path / "with space")
    assert checkpoint.open(f"file://{tmp_path}/with%20space").name == folder.name


def test_what_an_opened_checkpoint_says(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", config={"model_type": "llama", "hidden_size": 8})
    (folder / "tokenizer.json").write_text('{"model": "é"}', encoding="utf-8")
    (folder / "tokenizer.model").write_bytes(b"\xff\0piece")
    (folder / "README.md").write_text("# card")
    opened = checkpoint.open(str(folder))
    assert (opened.name, opened.format, opened.locator) == ("m", "safetensors", str(folder))
    assert opened.config == {"model_type": "llama", "hidden_size": 8}
    assert opened.notes == ()
    assert opened.revision is None
    assert [f.name for f in opened.files] == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer.model",
    ]
    assert all(f.sha256 and len(f.sha256) == 64 for f in opened.files)
    assert opened.total_bytes == sum(w.nbytes for w in weights().values())
    assert list(opened.side_files) == ["README.md", "config.json", "tokenizer.json"]
    assert opened.side_files["tokenizer.json"] == '{"model": "é"}'
    assert opened.read_file("tokenizer.model") == b"\xff\0piece"
    assert opened.read_file("README.md") == b"# card"
    assert len(opened.digest) == 64


def test_the_list_of_tensors_is_made_once(tmp_path: Path) -> None:
    opened = checkpoint.open(str(model(tmp_path / "m")))
    assert opened.tensors is opened.tensors
    assert list(opened.tensors) == list(opened.stored)
    fewer = replace(opened, stored=dict(list(opened.stored.items())[:1]))
    assert len(fewer.tensors) == 1


def test_side_files_are_read_when_asked_for_and_once(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "README.md").write_text("x" * 5000)
    opened = checkpoint.open(str(folder))
    before = opened.bytes_read
    assert "README.md" in opened.side_files
    assert opened.bytes_read == before
    assert len(opened.side_files["README.md"]) == len(opened.side_files["README.md"]) == 5000
    assert opened.bytes_read - before == 5000
    assert opened.side_files.get("none") is None
    with pytest.raises(KeyError):
        opened.side_files["model.safetensors"]


def test_side_files_that_cannot_be_used(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "vocab.txt").write_bytes(b"\xff\xfe")
    (folder / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\n")
    with (folder / "merges.txt").open("wb") as file:
        file.truncate((256 << 20) + 1)  # a sparse file: nothing is written
    opened = checkpoint.open(str(folder))
    for name, reason in (("vocab.txt", "UTF-8"), ("tokenizer.json", "git-lfs"), ("merges.txt", "at most")):
        with pytest.raises(CorruptCheckpointError) as caught:
            opened.side_files[name]
        check(caught.value, CorruptCheckpointError, file=name, reason=reason)
    with pytest.raises(NotFoundError) as gone:
        opened.read_file("special.json")
    check(gone.value, NotFoundError, file="special.json", reason="does not hold it")


def test_equal_files_have_equal_digests_and_others_do_not(tmp_path: Path) -> None:
    one, two = checkpoint.open(str(model(tmp_path / "a"))), checkpoint.open(str(model(tmp_path / "b")))
    other = checkpoint.open(str(model(tmp_path / "c", weights(seed=1))))
    assert one.digest == two.digest != other.digest


def test_large_weights_are_hashed_only_when_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    count = (64 << 20) + 64
    with craft(folder / "model.safetensors", {"w": entry("U8", [count], 0, count)}).open("r+b") as file:
        file.truncate(file.seek(0, 2) + count)  # sparse
    opened = checkpoint.open(str(folder))
    assert (opened.files[0].sha256, opened.files[0].not_hashed) == (None, "sampled read")
    assert opened.bytes_read < 100_000
    told: list[tuple[str, int, int]] = []
    hashed = checkpoint.open(str(folder), hash_files=True, progress=lambda *step: told.append(step))
    assert hashed.files[0].sha256 is not None
    assert hashed.files[0].not_hashed is None
    size = hashed.files[0].size
    assert told[-1] == ("model.safetensors", size, size)
    assert [done for _, done, _ in told] == sorted({done for _, done, _ in told})


def test_a_hash_is_that_of_the_file(tmp_path: Path) -> None:
    import hashlib

    from filiation.checkpoint.sources.local import LocalSource

    content = bytes(range(256)) * 9000  # more than one chunk
    (tmp_path / "x").write_bytes(content)
    source = LocalSource(tmp_path)
    (record,) = hash_files(source, source.files())
    assert record.sha256 == hashlib.sha256(content).hexdigest()
    assert hash_files(source, [record]) == (record,)


def test_no_config_is_said(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "config.json").unlink()
    opened = checkpoint.open(str(folder))
    assert opened.config is None
    assert opened.notes == ("no config.json: settings are inferred from the tensors",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{not json", "not valid JSON"),
        (b"[1]", "JSON object"),
        (b"\xff\xfe", "UTF-8"),
        (b"", "It is empty: 0 bytes"),
        (b"\0" * 64, "It is empty: 64 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_a_config_that_is_none(tmp_path: Path, content: bytes, reason: str) -> None:
    folder = model(tmp_path / "m")
    (folder / "config.json").write_bytes(content)
    with pytest.raises(CorruptCheckpointError) as caught:
        checkpoint.open(str(folder))
    check(caught.value, CorruptCheckpointError, file="config.json", reason=reason)


def test_a_config_of_absurd_size(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    with (folder / "config.json").open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(CorruptCheckpointError) as caught:
        checkpoint.open(str(folder))
    check(caught.value, CorruptCheckpointError, file="config.json", reason="at most")


def test_several_formats_in_one_folder(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    write_gguf(folder / "m.gguf", {"w": np.ones(4, np.float32)})
    save_torch(folder / "pytorch_model.bin", {"t": tensor(np.ones(2, np.float32), "0")})
    opened = checkpoint.open(str(folder))
    assert opened.format == "safetensors"
    assert "the folder also holds weights as gguf, torch; those as safetensors were read" in opened.notes
    assert [f.name for f in opened.files] == ["config.json", "model.safetensors"]
    (folder / "model.safetensors").unlink()
    assert checkpoint.open(str(folder)).format == "gguf"
    assert checkpoint.open(str(folder / "pytorch_model.bin")).format == "torch"


@pytest.mark.parametrize("kind", ["safetensors", "gguf", "torch"])
def test_a_file_without_its_ending_is_known_by_its_first_bytes(tmp_path: Path, kind: str) -> None:
    folder = model(tmp_path / "m")
    path = {
        "safetensors": folder / "model.safetensors",
        "gguf": write_gguf(tmp_path / "x.gguf", {"w": np.ones(4, np.float32)}),
        "torch": save_torch(tmp_path / "x.pt", {"t": tensor(np.ones(2, np.float32), "0")}),
    }[kind]
    assert checkpoint.open(str(path.rename(tmp_path / "weights"))).format == kind


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(NotFoundError) as caught:
        checkpoint.open(str(tmp_path))
    check(caught.value, NotFoundError, file=str(tmp_path), reason="no safetensors")


def test_weights_in_a_subfolder_are_pointed_at(tmp_path: Path) -> None:
    model(tmp_path / "repo" / "unet")
    with pytest.raises(NotFoundError) as caught:
        checkpoint.open(str(tmp_path / "repo"))
    check(caught.value, NotFoundError, file="repo", reason="unet")
    assert "sub-folder" in str(caught.value.next_step)


@pytest.mark.parametrize("name", ["tf_model.h5", "flax_model.msgpack", "model.npz"])
def test_formats_that_are_not_read_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    for named in (tmp_path, tmp_path / name):
        with pytest.raises(UnsupportedFormatError) as caught:
            checkpoint.open(str(named))
        check(caught.value, UnsupportedFormatError, file=name, reason="Read are safetensors")


def test_a_checkpoint_without_tensors(tmp_path: Path) -> None:
    craft(tmp_path / "model.safetensors", {})
    with pytest.raises(UnsupportedFormatError) as caught:
        checkpoint.open(str(tmp_path))
    check(caught.value, UnsupportedFormatError, file="model.safetensors", reason="lists none")


def test_a_budget_is_kept(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", {"w": np.ones((1000, 100), np.float32)})
    with pytest.raises(BudgetError):
        checkpoint.open(str(folder), budget=100)
    opened = checkpoint.open(str(folder), budget=900_000)  # the file is hashed, which takes 400,000
    opened.read("w", slice(0, 500))
    with pytest.raises(BudgetError) as caught:
        opened.read("w")
    check(
        caught.value, BudgetError, file="model.safetensors", tensor="w", reason="more are needed", exit_code=2
    )
    assert opened.bytes_read <= 900_000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_what_is_not_a_number_is_found_in_what_is_read(tmp_path: Path, bad: float, dtype: type) -> None:
    values = np.ones((50, 20), dtype)
    values[30, 7] = bad
    opened = checkpoint.open(str(model(tmp_path / "m", {"ok": np.ones(3, np.float32), "w": values})))
    assert opened.read("w", slice(0, 30)).shape == (30, 20)
    with pytest.raises(NonFiniteWeightsError) as caught:
        opened.read("w", slice(30, 31))
    check(
        caught.value, NonFiniteWeightsError, file="model.safetensors", tensor="w", reason="1 of the 20 values"
    )
    with pytest.raises(NonFiniteWeightsError):
        checkpoint.scan_finite(opened)


def test_large_numbers_are_numbers(tmp_path: Path) -> None:
    values = np.full((40, 10), 3e38, np.float32)
    opened = checkpoint.open(str(model(tmp_path / "m", {"w": values})))
    np.testing.assert_array_equal(opened.read("w"), values)


def test_two_infinities_do_not_cancel(tmp_path: Path) -> None:
    values = np.array([np.inf, -np.inf], np.float32)
    with pytest.raises(NonFiniteWeightsError):
        checkpoint.open(str(model(tmp_path / "m", {"w": values}))).read("w")


def test_a_scan_looks_at_every_value_but_integers(tmp_path: Path) -> None:
    tensors = {"w": np.ones((7, 5), np.float32), "ids": np.arange(9), "s": np.ones((), np.float32)}
    assert checkpoint.scan_finite(checkpoint.open(str(model(tmp_path / "m", tensors)))) == 36


def test_a_tensor_that_is_not_there() -> None:
    empty = checkpoint.Checkpoint("x", "x", "safetensors", (), {}, counter=None)  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        empty.read("w")
    with pytest.raises(NotFoundError):
        empty.read_file("README.md")


def test_prefetch_tells_the_source_what_comes(tmp_path: Path) -> None:
    from dataclasses import replace

    opened = checkpoint.open(str(model(tmp_path / "m", {"w": np.ones((100, 8), np.float32)})))
    told: list[tuple[str, Any]] = []

    class Listening:
        def prefetch(self, name: str, ranges: Any) -> None:
            told.append((name, ranges))

    tensor_ = opened.stored["w"]
    run = replace(tensor_.run, source=Listening())  # type: ignore[attr-defined]
    listening = replace(opened, stored={"w": replace(tensor_, run=run)})  # type: ignore[type-var]
    listening.prefetch([("w", (slice(10, 12),)), ("w", (3,)), ("w", (slice(10, 12),))])
    begin = run.offset
    assert told == [("model.safetensors", [(begin + 96, begin + 128), (begin + 320, begin + 384)])]


def test_opening_a_packed_checkpoint_unpacks_it(tmp_path: Path) -> None:
    config = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [4, 4]}}
    raw = np.arange(32, dtype=np.uint8).tobytes()
    scale = np.array([[2.0], [4.0]], np.float32).tobytes()
    header = {
        "l.weight": entry("F8_E4M3", [8, 4], 0, 32),
        "l.weight_scale_inv": entry("F32", [2, 1], 32, 40),
    }
    craft(tmp_path / "model.safetensors", header, raw + scale)
    (tmp_path / "config.json").write_text(json.dumps(config))
    opened = checkpoint.open(str(tmp_path))
    assert list(opened.tensors) == ["l.weight"]
    import ml_dtypes

    plain = np.frombuffer(raw, ml_dtypes.float8_e4m3fn).astype(np.float32).reshape(8, 4)
    expected = plain * np.repeat([2.0, 4.0], 4)[:, None]
    np.testing.assert_array_equal(opened.read("l.weight"), expected)


def test_scales_are_applied_where_modelopts_own_file_says_so(tmp_path: Path) -> None:
    values = np.arange(32, dtype=np.float32).reshape(2, 16)
    tensors = {
        "up.weight": values.astype(ml_dtypes.float8_e4m3fn),
        "up.weight_scale": np.full(1, 2, np.float32),
    }
    folder = model(tmp_path / "m", tensors)
    opened = checkpoint.open(str(folder))
    assert opened.unscaled == ("up.weight",)
    assert any("the scales were passed over" in note for note in opened.notes)
    stored = opened.read("up.weight")
    (folder / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "FP8"}}))
    opened = checkpoint.open(str(folder))
    assert opened.unscaled == ()
    np.testing.assert_array_equal(opened.read("up.weight"), 2 * stored)
