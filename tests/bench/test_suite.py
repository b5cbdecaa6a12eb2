"""Finding task files, and the sentences for folders that hold none."""

from pathlib import Path

import pytest

from kernelwright.bench import find_tasks, parse_only
from kernelwright.errors import OptionInvalid, SuiteInvalid


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    for name in (
        "level1/1_a",
        "level1/2_b",
        "level1/10_c",
        "level2/1_d",
        "level2/helper",
        "level2/_private",
        "other/1_x",
    ):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    return tmp_path


def names(*args: object) -> list[str]:
    return [task.name for task in find_tasks(*args)]  # type: ignore[arg-type]


def test_levels_in_order_of_their_numbers(suite: Path) -> None:
    assert names(suite) == ["level1/1_a", "level1/2_b", "level1/10_c", "level2/1_d", "level2/helper"]
    assert names(suite, 2) == ["level2/1_d", "level2/helper"]


def test_a_level_folder_itself(suite: Path) -> None:
    assert names(suite / "level1") == ["level1/1_a", "level1/2_b", "level1/10_c"]
    assert names(suite / "level1", 1) == names(suite / "level1")
    with pytest.raises(SuiteInvalid, match="--level is 2"):
        find_tasks(suite / "level1", 2)


def test_a_flat_folder(suite: Path) -> None:
    assert names(suite / "other") == ["1_x"]


def test_only(suite: Path) -> None:
    assert names(suite, 1, parse_only("10,1")) == ["level1/1_a", "level1/10_c"]
    assert names(suite, None, parse_only("1")) == ["level1/1_a", "level2/1_d"]
    with pytest.raises(SuiteInvalid, match="--only names task 7,"):
        find_tasks(suite, 1, parse_only("1,7"))


@pytest.mark.parametrize("text", ["", "a", "1,,2", "3-1", "1.5", "-1"])
def test_only_must_be_numbers(text: str) -> None:
    with pytest.raises(OptionInvalid, match="--only is"):
        parse_only(text)


def test_ranges() -> None:
    assert parse_only("1, 3-5 ,9") == {1, 3, 4, 5, 9}


def test_folders_without_tasks(tmp_path: Path) -> None:
    with pytest.raises(SuiteInvalid, match="not a folder"):
        find_tasks(tmp_path / "nothing")
    with pytest.raises(SuiteInvalid, match="holds no task files"):
        find_tasks(tmp_path)
    (tmp_path / "level1").mkdir()
    with pytest.raises(SuiteInvalid, match="holds no task files"):
        find_tasks(tmp_path)
