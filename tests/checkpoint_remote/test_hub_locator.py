"""Every way of writing a model on the hub, and what is refused."""

from __future__ import annotations

import pytest

from filiation.checkpoint.sources.hub_locator import HubLocator, parse, recognises
from filiation.errors import UsageError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WRITTEN = {
    "org/name": HubLocator("org/name"),
    "Qwen/Qwen2.5-0.5B": HubLocator("Qwen/Qwen2.5-0.5B"),
    "org/name@v1.0": HubLocator("org/name", "v1.0"),
    f"org/name@{COMMIT}": HubLocator("org/name", COMMIT),
    "org/name@refs/pr/3": HubLocator("org/name", "refs/pr/3"),
    "org/name@feature/x": HubLocator("org/name", "feature/x"),
    "hf://org/name": HubLocator("org/name"),
    "hf://models/org/name": HubLocator("org/name"),
    "hf://org/name@v1": HubLocator("org/name", "v1"),
    "hf://org/name@v1/sub/m.gguf": HubLocator("org/name", "v1", "sub/m.gguf"),
    "https://huggingface.co/org/name": HubLocator("org/name"),
    "https://huggingface.co/org/name/": HubLocator("org/name"),
    "https://hf.co/org/name": HubLocator("org/name"),
    "https://huggingface.co/org/name/tree/main": HubLocator("org/name", "main"),
    "https://huggingface.co/org/name/tree/refs%2Fpr%2F3": HubLocator("org/name", "refs/pr/3"),
    "https://huggingface.co/org/name/tree/v1/onnx": HubLocator("org/name", "v1", "onnx"),
    "https://huggingface.co/org/name/blob/main/m.gguf": HubLocator("org/name", "main", "m.gguf"),
    "https://huggingface.co/org/name/resolve/main/m.gguf?download=true": HubLocator(
        "org/name", "main", "m.gguf"
    ),
}


@pytest.mark.parametrize("locator", WRITTEN)
def test_the_forms_that_name_a_model(locator: str) -> None:
    assert recognises(locator)
    assert parse(locator) == WRITTEN[locator]


@pytest.mark.parametrize(
    "locator",
    [
        "model.safetensors",
        "./org/name",
        "/org/name",
        "a/b/c",
        "s3://b/k",
        "https://example.com/org/name",
        "org/",
        "~/x",
    ],
)
def test_what_is_no_hub_locator(locator: str) -> None:
    assert not recognises(locator)


@pytest.mark.parametrize(
    ("locator", "reason"),
    [
        ("hf://datasets/org/name", "dataset"),
        ("https://huggingface.co/datasets/org/name", "dataset"),
        ("https://huggingface.co/org", "namespace"),
        ("https://huggingface.co/org/name/discussions/1", "discussions"),
        ("hf://name", "namespace"),
        ("hf://", "Empty"),
        ("org/name@../../x", "leads out"),
        ("hf://org/name@main/../../x", "leads out"),
        ("https://huggingface.co/org/name/blob/main/../../x", "leads out"),
        ("org/na--me", "--"),
    ],
)
def test_what_names_no_model_says_why(locator: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(locator)
    assert reason in (caught.value.reason or "")
    assert "org/name@revision" in (caught.value.next_step or "")


def test_an_endpoint_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = "https://hub.example.com/hf"
    assert not recognises(f"{own}/org/name")
    monkeypatch.setenv("HF_ENDPOINT", own + "/")
    assert recognises(f"{own}/org/name/tree/main")
    assert parse(f"{own}/org/name/tree/main", own) == HubLocator("org/name", "main")
