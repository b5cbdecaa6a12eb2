"""The judge on its own: each form of a submission accepted when right, and rejected for what is wrong with it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import kernelwright
from kernelwright.errors import NotServable, SubmissionInvalid, TaskError
from kernelwright.judge import Judge, Verdict, read_submission
from kernelwright.targets import Candidate, load, one_file
from kernelwright.targets.cpu import INCLUDE
from kernelwright.task import DynamicSize, from_callable, from_source

from . import submissions
from .kernels import HONEST, make, make_task

JudgeText = Callable[..., Verdict]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("submissions")
    (folder / "task.py").write_text(submissions.TASK)
    return folder


@pytest.fixture(scope="module")
def judged(folder: Path, home: None) -> Iterator[JudgeText]:
    """Judge a text, or what lies under its name already, against the task."""
    with Judge(time_limit=20.0, memory_limit=1 << 30) as judge:

        def run(name: str, text: str = "") -> Verdict:
            if text:
                (folder / name).write_text(text)
            return judge.judge(folder / "task.py", folder / name)

        yield run


def names(verdict: Verdict) -> list[str]:
    return [label.name for label in verdict.labels]


def test_a_right_cpp_source_is_accepted(judged: JudgeText) -> None:
    verdict = judged("right.cpp", submissions.cpp())
    assert verdict.accepted, verdict.reason
    assert len(verdict.checks) > 5
    assert all(check.error <= 1 for check in verdict.checks)
    assert {"read", "rules", "load", "checks"} <= {name for name, _ in verdict.phases}


def test_a_right_c_source_without_our_headers_is_accepted(judged: JudgeText) -> None:
    assert judged("right.c", submissions.C).accepted


def test_a_right_shared_object_is_accepted(judged: JudgeText, folder: Path) -> None:
    (folder / "source.cc").write_text(submissions.cpp())
    command = ["g++", "-O2", "-std=c++20", "-shared", "-fPIC", f"-I{INCLUDE}", "source.cc", "-o", "right.so"]
    subprocess.run(command, cwd=folder, check=True)
    verdict = judged("right.so")
    assert verdict.accepted, verdict.reason


def test_a_right_module_is_accepted_and_labelled(judged: JudgeText) -> None:
    verdict = judged("right.py", submissions.python())
    assert verdict.accepted, verdict.reason
    assert "calls a library operation" in names(verdict)
    assert any("more calls were right" in note for note in verdict.notes)


def test_a_module_with_other_names_is_followed_by_its_values(judged: JudgeText) -> None:
    verdict = judged("other_names.py", submissions.python(name="layer"))
    assert verdict.accepted, verdict.reason
    assert any("other parameters" in check.structure for check in verdict.checks)


def test_a_module_that_packs_says_how_in_load_state_dict(judged: JudgeText) -> None:
    verdict = judged("packs.py", submissions.PACKED)
    assert verdict.accepted, verdict.reason
    assert any("other parameters" in check.structure for check in verdict.checks)


def test_parameters_that_are_not_followed_are_named(judged: JudgeText) -> None:
    verdict = judged("baked_in.py", submissions.PACKED.replace("def load_state_dict", "def _never_called"))
    assert (verdict.status, verdict.category) == ("rejected", "parameters")
    assert "linear.weight" in verdict.reason


def test_a_load_state_dict_that_does_nothing_is_wrong(judged: JudgeText) -> None:
    verdict = judged("deaf.py", submissions.PACKED.replace("self.all.copy_", "str"))
    assert (verdict.status, verdict.category) == ("rejected", "value")


def test_what_is_printed_is_nobodys_business(judged: JudgeText) -> None:
    assert judged("prints.cpp", submissions.cpp(after='puts("PASS"); puts("{}");')).accepted


@pytest.mark.parametrize(
    ("name", "text", "category"),
    [
        ("wrong.cpp", submissions.cpp(after="y[3] += 1e-3f;"), "value"),
        ("no_entry.cpp", submissions.cpp(entry="other"), "build"),
        ("syntax.cpp", submissions.cpp(after="y[0] = ;"), "build"),
        ("writes_past.cpp", submissions.cpp(after="y[96] = 1;"), "guard"),
        ("wrong.py", submissions.python("return y + 1e-3"), "value"),
        ("syntax.py", "class ModelNew(:\n", "build"),
        ("no_class.py", "import torch\n", "build"),
        ("two.py", submissions.python("return y, y"), "shape"),
        ("view.py", submissions.python("x[:, :8] = y\n        return x[:, :8].contiguous()"), "input-mutated"),
        ("raises.py", submissions.python("raise ValueError('no')"), "crash"),
        ("exits.py", submissions.python("os._exit(0)"), "crash"),
        ("lazy.py", submissions.python("return y.to_sparse()"), "shape"),
        ("runs.py", submissions.python("os.system('true')\n        return y"), "rules"),
    ],
)
def test_the_one_reason(judged: JudgeText, name: str, text: str, category: str) -> None:
    verdict = judged(name, text)
    assert (verdict.status, verdict.category) == ("rejected", category), verdict.reason
    assert verdict.reason.endswith(".")


def test_what_needs_a_compiler_while_it_runs_is_not_judged(judged: JudgeText) -> None:
    inline = "from torch.utils.cpp_extension import load_inline\nload_inline('m', cpp_sources=['int f();'.strip()])"
    verdict = judged("inline.py", submissions.python(before=inline))
    assert (verdict.status, verdict.category) == ("unjudged", "walls"), verdict.reason
    assert "are not written out in the file" in verdict.reason


_INLINE = """
from torch.utils.cpp_extension import load_inline
HEAD = "#include <pybind11/pybind11.h>\\n"
LOOP = "for (long k = 0; k < count; ++k) to[k] = from[k] < LEAST ? 0 : from[k];"
SOURCE = HEAD + "void relu(long a, long b, long count) { auto from = (const float*)a; auto to = (float*)b;" + LOOP + "}"
extension = load_inline("extension", SOURCE + "PYBIND11_MODULE(extension, m) { m.def(\\"relu\\", &relu); }",
                        extra_cflags=["-O2", "-DLEAST=0.0f"], no_implicit_headers=True)
"""
_CALLED = """y = (x @ self.linear.weight.t() + self.linear.bias).contiguous()
        z = torch.empty_like(y)
        extension.relu(y.data_ptr(), z.data_ptr(), y.numel())
        return z"""


@pytest.mark.parametrize(("least", "status"), [("0.0f", "accepted"), ("0.01f", "rejected")])
def test_an_extension_written_out_in_the_file_is_built_and_judged(judged: JudgeText, least: str, status: str) -> None:
    text = submissions.python(_CALLED, before=_INLINE.replace("0.0f", least))
    verdict = judged("extension.py", text)
    assert verdict.status == status, verdict.reason


def test_a_broken_shared_object_is_rejected(judged: JudgeText, folder: Path) -> None:
    (folder / "broken.so").write_bytes(b"\x7fELF" + bytes(200))
    verdict = judged("broken.so")
    assert (verdict.status, verdict.category) == ("rejected", "build"), verdict.reason


def test_a_view_of_an_input_is_no_result(folder: Path, home: None) -> None:
    task = from_callable(lambda x: x * 1.0, (torch.randn(6, 5),), name="copy")
    (folder / "alias.py").write_text(
        "from torch import nn\nclass ModelNew(nn.Module):\n    def forward(self, x):\n        return x\n"
    )
    verdict = kernelwright.judge(task, folder / "alias.py", memory_limit=1 << 30)
    assert (verdict.status, verdict.category) == ("rejected", "guard"), verdict.reason


def test_one_of_ours_comes_back_from_its_file(folder: Path, home: None) -> None:
    path = folder / "ours.cpp"
    path.write_text(one_file(HONEST))
    found = read_submission(path, make_task())
    assert found.digest == HONEST.digest
    wrong = folder / "ours_wrong.cpp"
    wrong.write_text(one_file(make(bias="0")))
    with Judge(memory_limit=1 << 30) as judge:
        assert judge.judge(make_task(), path).accepted
        assert judge.judge(make_task(), wrong).category == "value"


def test_rules_reject_before_anything_of_the_task_is_run(folder: Path) -> None:
    task = folder / "broken.py"
    task.write_text((folder / "task.py").read_text() + "\nraise RuntimeError('it was run')\n")
    (folder / "shell.cpp").write_text('#include <cstdlib>\nextern "C" int main_() { return std::system("true"); }\n')
    (folder / "quiet.cpp").write_text("int x;\n")
    with Judge(memory_limit=1 << 30) as judge:
        assert judge.judge(str(task), folder / "shell.cpp").category == "rules"
        assert judge.session is None  # and no process was started
        with pytest.raises(TaskError, match="it was run"):
            judge.judge(str(task), folder / "quiet.cpp")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("kernel.rs", b"fn main() {}", r"must be a C or C\+\+ source"),
        ("empty.py", b"  \n", "is empty"),
        ("bytes.cpp", b"\xff\xfe\x00", "not UTF-8"),
        ("text.so", b"hello", "no shared object"),
        ("plan.cpp", b"// kernelwright-plan: {nonsense\nint x;", "is no plan"),
    ],
)
def test_what_is_no_submission(folder: Path, name: str, content: bytes, sentence: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(SubmissionInvalid, match=sentence):
        read_submission(folder / name, from_source(str(folder / "task.py")))
    with pytest.raises(SubmissionInvalid, match="cannot be read"):
        read_submission(folder / "missing.cpp", from_source(str(folder / "task.py")))


def test_the_interface_of_sizes_that_vary(folder: Path) -> None:
    def double(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.cat([x, y], 0), x.sum(0)

    dynamic = (DynamicSize(0, 0, 1, 9), DynamicSize(1, 0, 2, 8))
    task = from_callable(double, (torch.randn(4, 3), torch.randn(5, 3)), name="two", dynamic=dynamic)
    (folder / "dynamic.cpp").write_text(submissions.cpp())
    plan = read_submission(folder / "dynamic.cpp", task).plan
    assert plan is not None
    assert [(s.input, s.dim, s.lo, s.hi) for s in plan.symbols] == [(0, 0, 1, 9), (1, 0, 2, 8)]
    first, second = plan.buffers
    sizes = {"s0": 4, "s1": 5}
    assert eval(str(first.shape[0]), {}, sizes) == 9
    assert first.shape[1:] == second.shape == (3,)
    assert plan.steps[0].args == ("x0", "x1", "y0", "y1")  # type: ignore[union-attr]


@pytest.mark.parametrize("target", ["python", "so"])
def test_nothing_handed_in_runs_in_the_users_process(target: str, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    source = f"open({str(witness)!r}, 'w')\n"
    with pytest.raises(NotServable, match="judge's worker only"):
        load(Candidate(target, "compiler", source, None), torch.relu, {})
    assert not witness.exists()
