"""The small language, the configuration, the channels; and, where trl is installed, a lesson in miniature."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from kernelwright.errors import OptionInvalid
from kernelwright.judge import stand
from kernelwright.llm.rl import (
    Box,
    Exam,
    Graded,
    GrpoOptions,
    Lesson,
    Outcome,
    RuleReport,
    SftOptions,
    Spec,
    channels,
    draw_specs,
    fast_p,
    from_prose,
    grpo,
    learn,
    lesson_exam,
    read_lesson,
    sample,
    tiny_model,
    tiny_tokenizer,
)
from tests.triton_lab import needs_triton

_walled = pytest.mark.skipif(bool(stand().missing), reason="the walls do not stand on this machine")
_needs_trl = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("trl", "datasets")), reason="trl is not installed"
)


@needs_triton
@_walled
def test_programs_of_the_language_are_right_and_so_are_delegating_ones() -> None:
    lesson = Lesson(imitated=4, rewarded=4, examined=8)
    prompts = [s.prompt for s in lesson.specs[2]]
    with Box() as box:
        exam = lesson_exam(lesson, box)
        ours = channels(exam.grade(prompts, [" ".join(s.program()) for s in lesson.specs[2]]))
        torchs = channels(exam.grade(prompts, [" ".join(s.delegating()) for s in lesson.specs[2]]))
        rows = [s for s in lesson.specs[2] if not s.reduction]  # a lost element need not be the largest of a row
        short = [" ".join(s.program()).replace(" inside ", " inside-short ") for s in rows]
        lost = channels(exam.grade([s.prompt for s in rows], short))
    assert (ours.call, ours.execution, ours.lax, ours.delegating) == (1, 1, 1, 0)
    assert (torchs.call, torchs.execution, torchs.lax, torchs.delegating) == (0, 0, 1, 1)
    assert rows
    assert (lost.call, lost.execution, lost.lax) == (1, 0, 0)


def test_specs_that_rounding_alone_makes_wrong_are_left_out() -> None:
    wild = [Spec(("exp", "exp", "sin")), Spec(("square", "exp", "exp", "cos"))]
    drawn = draw_specs(0, 200, (2, 3))
    assert not set(wild) & set(drawn)
    assert len(set(drawn)) == 200


def test_specs_of_the_three_parts_are_apart_and_the_same_each_time() -> None:
    parts = Lesson().specs
    assert len({s for part in parts for s in part}) == sum(len(part) for part in parts)
    assert parts == Lesson().specs
    tuned = Lesson(tuning=True).specs
    assert tuned[:2] == parts[:2]
    assert tuned[2]
    assert not set(tuned[2]) & {s for part in parts for s in part}
    assert len(draw_specs(0, 30, (1,))) == 30


def test_every_token_of_a_program_survives_the_tokenizer() -> None:
    tokenizer = tiny_tokenizer()
    for spec in draw_specs(0, 20, (2, 3)):
        for program in (spec.program(), spec.delegating()):
            text = f"{spec.prompt} {' '.join(program)}"
            numbers = tokenizer(text)["input_ids"]
            assert tokenizer.unk_token_id not in numbers
            assert tokenizer.decode(numbers) == text


def test_the_tiny_model_has_between_one_and_twenty_million_parameters() -> None:
    model = tiny_model(tiny_tokenizer(), 0)
    assert 1e6 <= sum(p.numel() for p in model.parameters()) <= 2e7
    other = tiny_model(tiny_tokenizer(), 0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_fast_p_counts_all_tasks_and_needs_a_clock() -> None:
    right, delegating = RuleReport(True, ()), RuleReport(False, ("torch",))
    graded = [
        Graded(right, Outcome(True, True), 2.5),
        Graded(right, Outcome(True, True), 1.0),
        Graded(right, Outcome(True, False), 9.0),
        Graded(delegating, Outcome(True, True), 9.0),
    ]
    assert [fast_p(graded, p) for p in (0.5, 1.0, 2.0, 3.0)] == [0.5, 0.25, 0.25, 0.0]
    assert fast_p([Graded(right, Outcome(True, True))], 1.0) is None
    assert channels([]).execution == 0


def test_the_program_is_the_last_fenced_block_even_of_a_cut_answer() -> None:
    assert from_prose("a\n```python\none\n```\nb\n```python\ntwo\nthree") == "two\nthree"
    assert from_prose("x = 1") == "x = 1"


def test_a_configuration_is_read_and_what_it_cannot_mean_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lesson.toml"
    path.write_text("imitated = 5\nrules = false\n[grpo]\nsteps = 3\n[sft]\nepochs = 2\n")
    lesson = read_lesson(path)
    assert (lesson.imitated, lesson.rules, lesson.grpo.steps, lesson.sft.epochs) == (5, False, 3, 2)
    for text in ("imitate = 5\n", "[grpo]\nstep = 3\n", "imitated = 'many'\n", "grpo = 3\n", "imitated = true\n", "="):
        path.write_text(text)
        with pytest.raises(OptionInvalid):
            read_lesson(path)


@_needs_trl
@pytest.mark.slow
def test_rewards_change_the_model_and_equal_ones_do_not() -> None:
    torch.set_num_threads(1)
    tokenizer, prompts = tiny_tokenizer(), [s.prompt for s in draw_specs(0, 4, (1,))]
    options = GrpoOptions(steps=1, batch=8, group=4, longest=6)

    def after(score: Callable[[Sequence[str], Sequence[str]], Sequence[float]]) -> tuple[bool, list[float]]:
        model = tiny_model(tokenizer, 0, width=32, layers=1)
        before = [p.detach().clone() for p in model.parameters()]
        learnt, rewards = grpo(model, tokenizer, prompts, score, options)
        return any(not torch.equal(a, b) for a, b in zip(before, learnt.parameters(), strict=True)), rewards

    assert after(lambda prompts, answers: [1.0] * len(answers)) == (False, [1.0])
    changed, (mean,) = after(lambda prompts, answers: [float(k % 2) for k in range(len(answers))])
    assert changed
    assert mean == 0.5


@needs_triton
@_walled
@_needs_trl
@pytest.mark.slow
def test_a_lesson_in_miniature_imitates_until_its_kernels_are_right() -> None:
    """One operation, learnt by heart: so the whole way from trainer to box and back says what it must."""
    torch.set_num_threads(1)
    lesson = Lesson(
        imitated=6, rewarded=2, examined=2, delegating=0.0, width=64, layers=1,
        sft=SftOptions(epochs=60, batch=6, learning_rate=5e-3), grpo=GrpoOptions(steps=1, batch=8, group=4),
    )  # fmt: skip
    with Box() as box:
        model, tokenizer, learnt = learn(lesson, box)
        known = [s.prompt for s in lesson.specs[0]]
        exam = Exam([s.task() for s in lesson.specs[0]], box, trials=1)
        assert channels(exam.grade(known, sample(model, tokenizer, known, temperature=0))).execution >= 0.5
    assert learnt.imitating.count == learnt.reinforced.count == 4
    assert len(learnt.rewards) == 1
