"""Options and fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the goldens of generated source")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the golden of this name beside the test (or write it with ``--update-golden``)."""
    folder = Path(request.path).parent / "golden"
    update = bool(request.config.getoption("--update-golden"))

    def check(name: str, text: str) -> None:
        path = folder / name
        if update:
            folder.mkdir(exist_ok=True)
            path.write_text(text.rstrip() + "\n")
        assert path.exists(), f"no golden {path}; run pytest --update-golden"
        assert text.rstrip() + "\n" == path.read_text(), f"generated source differs from {path}"

    return check
