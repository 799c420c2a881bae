"""Copyright lines, licences, attributions."""

from __future__ import annotations

import pytest

from filiation.source import headers
from filiation.source.model import HeaderState

APACHE = '# Licensed under the Apache License, Version 2.0 (the "License");\n'


@pytest.mark.parametrize(
    ("line", "holders"),
    [
        (
            "# Copyright 2024 The Qwen team, Alibaba Group and the HuggingFace Inc. team. All rights reserved.",
            ("Qwen", "Alibaba Group", "HuggingFace"),
        ),
        ("# Copyright (c) 2025 Huawei Technologies Co., Ltd. All rights reserved.", ("Huawei Technologies Co., Ltd",)),
        ("# © 2019-2021 Somebody", ("Somebody",)),
        ("# the copyright holder is not liable", ()),
        ("x = 1", ()),
    ],
)  # fmt: skip
def test_holders(line: str, holders: tuple[str, ...]) -> None:
    assert headers.read(f"{line}\nimport x\n").holders == holders


def test_head_ends_at_the_first_statement() -> None:
    found = headers.read(
        '# Copyright 2020 A\n"""B model.\n\nCopyright 2021 C\n"""\nimport x\n# Copyright 2022 D\n'
    )
    assert found.holders == ("A", "C")
    assert found.year == 2020


def test_kept_removed_added() -> None:
    reference = headers.read(f"# Copyright 2020 Alpha and Beta Inc.\n{APACHE}")
    kept = headers.read(f"# Copyright 2024 Gamma\n# Copyright 2020 Alpha and Beta\n{APACHE}")
    found = headers.compare("m.py", kept, reference, ("llama",), ("r", "l.py"))
    assert (found.state, found.added, found.licence) == (HeaderState.KEPT, ("Gamma",), "Apache-2.0")
    assert found.source_attributed
    none = headers.compare("m.py", headers.read("import x\n"), reference, ("llama",), ("r", "l.py"))
    assert (none.state, none.removed, none.source_attributed) == (
        HeaderState.REMOVED,
        ("Alpha", "Beta Inc"),
        False,
    )
    part = headers.compare("m.py", headers.read("# Copyright Alpha\n"), reference, (), ("r", "l.py"))
    assert part.state is HeaderState.PARTLY_KEPT


def test_attribution_without_the_holders() -> None:
    text = "# Adapted from\n# https://example.org/models/llama/modeling_llama.py\nimport x\n"
    suspect, reference = headers.read(text), headers.read("# Copyright 2020 Alpha\n")
    found = headers.compare("m.py", suspect, reference, ("modeling_llama", "llama"), ("r", "l.py"))
    assert found.source_attributed
    assert found.state is HeaderState.REMOVED
    assert found.attributions[0][0] == 1
