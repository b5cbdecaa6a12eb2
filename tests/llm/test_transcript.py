"""Answers are on disk before they are used; what was paid for is not asked for again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernelwright.errors import AllowanceSpent, ModelUnavailable, TranscriptInvalid
from kernelwright.llm import Allowance, Answer, Message, Recorder, Replay, Request, Transcript


class Counting:
    """A model that counts."""

    def __init__(self, name: str = "counting") -> None:
        self.name, self.asked = name, [0]

    def ask(self, request: Request, progress: object = None) -> Answer:
        self.asked[0] += 1
        return Answer(f"answer {self.asked[0]}", "stop", 100, 50)


def request(step: str, text: str = "hello") -> Request:
    return Request((Message("user", text),), step, most=60)


def test_a_step_is_asked_for_once_whatever_the_words(tmp_path: Path) -> None:
    model, path = Counting(), tmp_path / "deep" / "answers.jsonl"
    first = Recorder(model, Transcript(path), "subject")
    assert [first.ask(request(step)).text for step in ("1.1", "1.2")] == ["answer 1", "answer 2"]
    again = Recorder(model, Transcript(path), "subject")
    assert again.ask(request("1.1", "the time is another now")).text == "answer 1"
    assert again.ask(request("1.3")).text == "answer 3"
    assert model.asked == [3]


def test_an_answer_is_on_disk_before_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    recorder = Recorder(Counting(), Transcript(path), "subject")
    recorder.ask(request("1.1"))
    assert Transcript(path).find("subject", "1.1") == Answer("answer 1", "stop", 100, 50)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_a_kill_cut_short_loses_nothing_else(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "answers.jsonl"
    recorder = Recorder(Counting(), Transcript(path), "subject")
    for step in ("1.1", "1.2"):
        recorder.ask(request(step))
    path.write_bytes(path.read_bytes()[:-cut])
    found = Transcript(path)
    assert found.find("subject", "1.1") is not None
    resumed = Recorder(Counting(), found, "subject")
    for step in ("1.2", "1.3"):
        resumed.ask(request(step))
    assert all(Transcript(path).find("subject", step) is not None for step in ("1.1", "1.2", "1.3"))


def test_replay_says_the_same_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    Recorder(Counting(), Transcript(path), "subject").ask(request("1.1"))
    replay = Replay(Transcript(path), "subject")
    assert (replay.name, replay.ask(request("1.1", "other words")).text) == ("counting", "answer 1")
    with pytest.raises(ModelUnavailable, match=r"ends before 1\.2"):
        replay.ask(request("1.2"))
    with pytest.raises(TranscriptInvalid, match="no answers for this task"):
        Replay(Transcript(path), "another subject")


def test_answers_of_two_models_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    Recorder(Counting(), Transcript(path), "subject").ask(request("1.1"))
    with pytest.raises(TranscriptInvalid, match="answers of counting"):
        Recorder(Counting("other"), Transcript(path), "subject")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text("# notes\nnothing here\n")
    with pytest.raises(TranscriptInvalid, match="is no transcript"):
        Transcript(path)


def until_spent(recorder: Recorder) -> int:
    """Answers until the allowance is spent."""
    for step in range(20):
        try:
            recorder.ask(request(str(step)))
        except AllowanceSpent:
            return step
    raise AssertionError("nothing was ever spent")


@pytest.mark.parametrize("limits", [{"tokens": 320}, {"money": 0.002, "prices": (1.0, 10.0)}], ids=["tokens", "money"])
def test_the_allowance_bounds_what_is_asked_for(tmp_path: Path, limits: dict[str, Any]) -> None:
    model, path = Counting(), tmp_path / "answers.jsonl"
    allowance = Allowance(**limits)
    assert until_spent(Recorder(model, Transcript(path), "subject", allowance)) == model.asked[0]
    assert allowance.spent_tokens <= allowance.tokens + 150  # the last answer may have cost more than was foreseen
    assert allowance.spent_money <= allowance.money + 0.0006
    asked = model.asked[0]
    until_spent(Recorder(model, Transcript(path), "subject", Allowance(**limits)))
    assert model.asked[0] == asked  # what was asked for in an earlier run was paid for as well
