"""``kernelwright rl``: train a model that writes Triton, and examine one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelwright.cli._output import say, stderr, writable_file, write_document
from kernelwright.errors import ModelMissing, OptionInvalid, OutputUnwritable

if TYPE_CHECKING:
    import torch

    from kernelwright.llm.rl import Box, Channels, Learnt, Pair
    from kernelwright.targets import Candidate

rl_app = typer.Typer(help="Train a model that writes Triton, and examine one.", no_args_is_help=True)

_Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file: what is learnt, and how.")]
_Unsafe = Annotated[bool, typer.Option("--unsafe", help="Run programs even where the walls do not stand.")]
_Json = Annotated[Path | None, typer.Option(help="File for the channels as JSON.")]


@rl_app.callback()
def _root() -> None:
    """Train a model that writes Triton, and examine one."""


@rl_app.command()
def train(
    config: _Config,
    out: Annotated[Path | None, typer.Option(help="Folder for the trained model and its tokenizer.")] = None,
    json: _Json = None,
    distributed: Annotated[str | None, typer.Option(help="ray: rewards on a Ray cluster.")] = None,
    workers: Annotated[int, typer.Option(help="How many processes score programs there.")] = 2,
    address: Annotated[str | None, typer.Option(help="Of a cluster that runs; else one is started here.")] = None,
    unsafe: _Unsafe = False,
) -> None:
    """Supervised training on verified programs, then GRPO on the reward of running them behind walls."""
    if distributed not in (None, "ray"):
        raise OptionInvalid(f"--distributed is {distributed!r}; it must be ray.")
    if workers < 1:
        raise OptionInvalid(f"--workers is {workers}; it must be at least 1.")
    document = writable_file(json, "--json")
    _check_trainers()
    if out is not None:
        _make_folder(out)
    from kernelwright.llm.rl import Box

    with Box(unsafe=unsafe) as box:
        model, tokenizer, learnt = _learn(config, box, (workers, address) if distributed else None)
    _print(learnt.imitating, "after imitating")
    _print(learnt.reinforced, "after reinforcement")
    write_document(document, learnt.to_json())
    if out is not None:
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
        say(f"The model is in {out}.")


@rl_app.command("eval")
def evaluate(
    config: _Config,
    model: Annotated[Path, typer.Option(help="Folder of a trained model.")],
    json: _Json = None,
    unsafe: _Unsafe = False,
) -> None:
    """The channels of a trained model on held-out tasks: call accuracy, execution accuracy, what delegates."""
    document = writable_file(json, "--json")
    if not model.is_dir():
        raise OptionInvalid(f"--model is {str(model)!r}; it must be the folder of a trained model.")
    from kernelwright.llm.rl import (
        Box,
        checkpoint_lesson,
        examine,
        examine_checkpoint,
        lesson_exam,
        lesson_from,
        read_toml,
    )

    data = read_toml(config)
    with Box(unsafe=unsafe) as box:
        if "checkpoint" in data:
            found = examine_checkpoint(checkpoint_lesson(data, config), model, box)
        else:
            from transformers import AutoModelForCausalLM, AutoTokenizer

            lesson = lesson_from(data, config)
            loaded = AutoModelForCausalLM.from_pretrained(model)
            found = examine(lesson, loaded, AutoTokenizer.from_pretrained(model), lesson_exam(lesson, box))
    _print(found, "held out")
    write_document(document, found.to_json())


def _learn(config: Path, box: Box, cluster: tuple[int, str | None] | None) -> tuple[Any, Any, Learnt]:
    from kernelwright.llm.rl import Spread, checkpoint_lesson, learn, learn_checkpoint, lesson_from, read_toml

    data = read_toml(config)
    if "checkpoint" in data:
        lesson = checkpoint_lesson(data, config)
        spread = None if cluster is None else (lambda tasks: Spread(tasks, cluster[0], address=cluster[1]))
        return learn_checkpoint(lesson, _pairs(lesson.package, box), box, say, spread)
    tiny = lesson_from(data, config)
    if cluster is None:
        return learn(tiny, box, say)
    _, rewarded, _ = tiny.specs
    with Spread([s.task() for s in rewarded], cluster[0], address=cluster[1]) as shared:
        return learn(tiny, box, say, shared)


def _pairs(package: str, box: Box) -> list[Pair]:
    """Programs that our own compiler prints for the modules of a package, verified."""
    from kernelwright.llm.rl import collect_modules, make_pair

    found = []
    with stderr().status("translating modules") as status:
        for module in collect_modules(package):
            status.update(f"translating {module.name}")
            made = make_pair(module, _translate, box)
            if not isinstance(made, str):
                found.append(made)
    return found


def _translate(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> Candidate:
    from kernelwright.compiler import prepare
    from kernelwright.compiler.triton import emit_triton

    return emit_triton(prepare(module, inputs))


def _print(found: Channels, title: str) -> None:
    shares = (f"{name} {value:.1%}" for name, value in found.to_json().items() if name != "count")
    say(f"{title}: {', '.join(shares)} of {found.count} programs")


def _check_trainers() -> None:
    missing = [name for name in ("trl", "datasets", "peft", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelMissing(f"Training needs {', '.join(missing)}: pip install 'kernelwright[rl]'.")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(f"--out is {str(path)!r}, which cannot be made: {error.strerror}.") from None
