"""Every way a model's folder can be broken, through the command line: exit code, file, tensor, reason, next step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from filiation.cli import main
from tests.checkpoint import broken as b

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e"
    b"2ca24d17e2393\nsize 12345\n"
)
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"

CORRUPT, UNSAFE, NUMBERS = "corrupt_checkpoint", "unsafe_checkpoint", "non_finite_weights"
KIND, GONE = "unsupported_format", "not_found"


@dataclass(frozen=True)
class Broken:
    """How a folder is broken, and what must be said of it."""

    name: str
    breaks: b.Break
    code: str
    file: str
    reason: str
    tensor: str | None = None
    next_step: str = ""


TABLE: Sequence[Broken] = (
    Broken("truncated_file", lambda f: b.cut(f / b.WEIGHTS), CORRUPT, b.WEIGHTS, "truncated", "model"),
    Broken("truncated_header", lambda f: b.cut(f / b.WEIGHTS, 0.002), CORRUPT, b.WEIGHTS, "truncated"),
    Broken("truncated_shard", lambda f: b.cut(b.in_shards(f)[1]), CORRUPT, SECOND, "truncated", "model"),
    Broken("overlap", b.with_header(b.overlapping), CORRUPT, b.WEIGHTS, "overlap", "model"),
    Broken("out_of_range", b.with_header(b.out_of_range), CORRUPT, b.WEIGHTS, "begin at 10995", "model"),
    Broken("long_header", b.weight_bytes(b"\0\0\0\0\1\0\0\0{" + bytes(64)), CORRUPT, b.WEIGHTS, "100000000"),
    Broken(
        "not_weights", b.weight_bytes(b"<html>404</html>"), CORRUPT, b.WEIGHTS, "text, such as an error page"
    ),
    Broken("missing_shard", lambda f: b.in_shards(f)[0].unlink(), GONE, FIRST, "promised"),
    Broken("missing_shard_no_index", b.missing_without_index, GONE, SECOND, "1 of 2 shards"),
    Broken(
        "index_of_nothing",
        b.with_index(lambda w: w.update({"ghost": FIRST})),
        CORRUPT,
        b.INDEX,
        "no shard",
        "ghost",
    ),
    Broken("twice_in_shards", b.twice_in_two_shards, CORRUPT, SECOND, "both hold it", b.Q),
    Broken("twice_in_header", b.twice_in_one_header, CORRUPT, b.WEIGHTS, "twice", b.Q),
    Broken("nan", b.with_value(float("nan")), NUMBERS, b.WEIGHTS, "NaN", b.Q),
    Broken("inf", b.with_value(float("inf")), NUMBERS, b.WEIGHTS, "infinit", b.Q),
    Broken(
        "contradiction",
        b.with_config(hidden_size=32),
        CORRUPT,
        b.WEIGHTS,
        "32 residual channels (hidden_size)",
        "model",
        "config.json",
    ),
    Broken("wrong_type", b.with_config(hidden_size="big"), CORRUPT, b.CONFIG, "hidden_size is 'big'"),
    Broken("no_heads", b.with_config(num_attention_heads=0), CORRUPT, b.WEIGHTS, "0 heads", "model"),
    Broken("config_list", b.config_bytes(b"[1, 2]"), CORRUPT, b.CONFIG, "JSON object"),
    Broken("config_not_json", b.config_bytes(b"hidden_size: 64"), CORRUPT, b.CONFIG, "not valid JSON"),
    Broken("config_empty", b.config_bytes(b""), CORRUPT, b.CONFIG, "empty"),
    Broken("config_large", b.large_config, CORRUPT, b.CONFIG, "at most"),
    Broken(
        "config_deep",
        b.config_bytes(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        CORRUPT,
        b.CONFIG,
        "nested too deeply",
    ),
    Broken(
        "config_latin1", b.config_bytes('{"author": "Zoë"}'.encode("latin-1")), CORRUPT, b.CONFIG, "UTF-8"
    ),
    Broken(
        "config_utf16", b.config_bytes('{"hidden_size": 64}'.encode("utf-16")), CORRUPT, b.CONFIG, "UTF-8"
    ),
    Broken("config_pointer", b.config_bytes(POINTER), CORRUPT, b.CONFIG, "git-lfs", next_step="git lfs pull"),
    Broken("hostile_pickle", b.hostile_pickle, UNSAFE, "pytorch_model.bin", "names 'commands.call'"),
    Broken("link_out", b.link_out, UNSAFE, b.WEIGHTS, "link"),
    Broken(
        "index_out",
        b.with_index(lambda w: w.update({b.Q: "../outside.safetensors"})),
        UNSAFE,
        b.INDEX,
        "../outside",
        b.Q,
    ),
    Broken("pointer", b.weight_bytes(POINTER), CORRUPT, b.WEIGHTS, "git-lfs", next_step="git lfs pull"),
    Broken("empty_file", b.weight_bytes(b""), CORRUPT, b.WEIGHTS, "0 bytes"),
    Broken("no_weights", lambda f: (f / b.WEIGHTS).unlink(), GONE, "model", "no safetensors"),
    Broken("nothing", lambda f: shutil.rmtree(f), GONE, "model", "No such"),
    Broken(
        "adapter",
        b.only_an_adapter,
        KIND,
        "adapter_model.safetensors",
        "difference to a base",
        next_step="--base",
    ),
)

FINE: Sequence[tuple[str, b.Break, str]] = (
    ("no_config", lambda f: (f / b.CONFIG).unlink(), "no config.json: settings are inferred"),
    ("config_is_a_folder", b.config_is_a_folder, "no config.json: settings are inferred"),
    ("config_with_a_mark", b.config_with_a_mark, ""),
    ("more_layers", b.with_config(num_hidden_layers=9), "the config says 9"),
    ("padding", b.with_config(vocab_size=1000), "24 padding rows"),
    ("nulls", b.with_config(num_key_value_heads=None, head_dim=None, vocab_size=None), ""),
    ("shards", b.in_shards, ""),
)

#: Nothing of the weights is read where only the anatomy is asked for.
FOUND_IN_READING = ("nan", "inf")
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
@pytest.mark.parametrize("command", ["inspect", "compare"])
def test_a_broken_model_is_explained(case: Broken, command: str, tmp_path: Path, capfd: Capture) -> None:
    folder = b.copy_of_base(tmp_path / "model")
    case.breaks(folder)
    others = [str(b.BASE)] if command == "compare" else []
    code = main([command, str(folder), *others, "--json"])
    out, err = capfd.readouterr()
    if command == "inspect" and case.name in FOUND_IN_READING:
        assert code == 0
        return
    assert code == 4
    assert "Traceback" not in err
    error = json.loads(out)["error"]
    assert error["code"] == case.code
    assert Path(error["file"]).name == case.file
    assert case.reason in error["reason"]
    assert error["next_step"]
    assert case.next_step in error["next_step"]
    assert (case.tensor is None) == (error["tensor"] is None)
    assert (error["tensor"] or "").startswith(case.tensor or "")
    assert [error[key] for key in ("message", "reason", "next_step") if error[key] not in err] == []


@pytest.mark.parametrize(("name", "breaks", "said"), FINE, ids=[name for name, _, _ in FINE])
def test_what_can_be_made_up_for_is_read_and_said(
    name: str, breaks: b.Break, said: str, tmp_path: Path, capfd: Capture
) -> None:
    folder = b.copy_of_base(tmp_path / "model")
    main(["inspect", str(folder), "--json"])
    whole = json.loads(capfd.readouterr().out)
    breaks(folder)
    assert main(["inspect", str(folder), "--json"]) == 0
    found = capfd.readouterr().out
    assert said in found
    geometry, expected = (page["anatomy"]["components"][0]["geometry"] for page in (json.loads(found), whole))
    unknown = (
        {"n_heads", "n_kv_heads", "d_head", "rope_theta", "activation"} if "no config" in said else set()
    )
    assert {k: v for k, v in geometry.items() if k not in unknown} == {
        k: v for k, v in expected.items() if k not in unknown
    }


def test_layers_beyond_the_config_are_said_to_be_beyond(tmp_path: Path, capfd: Capture) -> None:
    """Frameworks do not load them: the model has as many layers as its config says."""
    folder = b.copy_of_base(tmp_path / "model")
    b.with_config(num_hidden_layers=3)(folder)
    assert main(["inspect", str(folder), "--json"]) == 0
    found = capfd.readouterr().out
    assert "the config says 3" in found
    assert json.loads(found)["anatomy"]["components"][0]["geometry"]["n_layers"] == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("option", ["--json", "--html", "--markdown"])
def test_a_full_disk_is_told(option: str, tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "report").symlink_to("/dev/full")  # a link, so that no mistake here can replace the device
    assert main(["compare", str(b.BASE), str(b.BASE), f"{option}={tmp_path / 'report'}"]) == 4
    _, err = capfd.readouterr()
    assert "No space left" in err
    assert "Free some space" in err
    assert str(tmp_path / "report") in err
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert (tmp_path / "report").is_char_device()
    assert "Traceback" not in err


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs a device")
def test_an_output_never_takes_the_place_of_a_device_or_a_link(tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "kept.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "kept.json")
    for name in ("null", "link.json"):
        assert main(["compare", str(b.BASE), str(b.BASE), f"--json={tmp_path / name}"]) == 0
        assert (tmp_path / name).is_symlink()
    capfd.readouterr()
    assert (tmp_path / "null").is_char_device()
    assert json.loads((tmp_path / "kept.json").read_text())["verdict"]["relation"] == "identical"
