"""One session for the tests that share its task: starting the workers is what takes the time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kernelwright.judge import Session

from .kernels import make_task


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERNELWRIGHT_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def session(home: None) -> Iterator[Session]:
    with Session(make_task(), time_limit=10.0, memory_limit=1 << 30) as session:
        yield session
