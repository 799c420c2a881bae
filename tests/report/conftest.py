"""The marker of the tests that look at a page in a real browser."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs chromium on the machine")
