"""``kernelwright rl``: what it refuses before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelwright.cli import _rl
from kernelwright.cli._main import run
from kernelwright.errors import ModelMissing


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "lesson.toml"
    path.write_text("imitate = 3\n")
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["train", "CONFIG", "--distributed", "mpi"], "--distributed is 'mpi'; it must be ray."),
        (["train", "CONFIG", "--workers", "0"], "--workers is 0"),
        (["eval", "CONFIG", "--model", "/nowhere/at/all"], "it must be the folder of a trained model"),
        (["eval", "/nowhere.toml", "--model", "."], "which is no TOML file that can be read"),
        (["eval", "CONFIG", "--model", "."], "has no setting 'imitate'"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    options: list[str], said: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rl", *(str(config) if o == "CONFIG" else o for o in options)]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_without_the_trainers_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rl.importlib.util, "find_spec", lambda name: None if name == "trl" else name)
    with pytest.raises(ModelMissing, match=r"needs trl: pip install 'kernelwright\[rl\]'"):
        _rl._check_trainers()


def test_the_shipped_configurations_are_read() -> None:
    from kernelwright.llm.rl import checkpoint_lesson, read_lesson, read_toml

    examples = Path(__file__).parents[2] / "examples"
    assert read_lesson(examples / "autotriton-tiny.toml").grpo.steps > 0
    path = examples / "autotriton-checkpoint.toml"
    lesson = checkpoint_lesson(read_toml(path), path)
    assert lesson.grpo.extra["gradient_accumulation_steps"] > 1
