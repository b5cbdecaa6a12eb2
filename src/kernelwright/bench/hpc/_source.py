"""Where suggestions come from: a folder of texts, or a language model that is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ...errors import SuggestionsInvalid
from ...llm import ChatModel, Message, Request
from ._extract import LIMIT
from ._grade import Suggestion
from ._models import KERNELS, LANGUAGES, MODELS, MOST, Cell


class Source(Protocol):
    """Whoever answers prompts."""

    @property
    def name(self) -> str:
        """For tables and documents."""

    def suggestions(self, cell: Cell) -> Sequence[Suggestion] | None:
        """What it says to a prompt; None where it was not asked."""


class Folder:
    """Texts under ``<language>/<model>/<kernel>[-keyword]/``, one file each, in the order of their names.

    Raises ``SuggestionsInvalid`` where there is no such folder, or one whose name means nothing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            raise SuggestionsInvalid(f"--suggestions is {str(root)!r}, which is no folder.")
        found = [place for place in sorted(root.glob("*/*/*")) if place.is_dir()]
        for place in found:
            _check(place.relative_to(root))
        if not found:
            first = next(iter(MODELS))
            raise SuggestionsInvalid(f"{root} holds no suggestions; they lie in folders such as {first}/gemm.")

    @property
    def name(self) -> str:
        return self.root.resolve().name

    def suggestions(self, cell: Cell) -> Sequence[Suggestion] | None:
        """What lies in the prompt's folder."""
        place = self.root / cell.key
        if not place.is_dir():
            return None
        files = sorted(path for path in place.iterdir() if path.is_file() and not path.name.startswith("."))
        return [Suggestion(_read(path), str(path.relative_to(self.root))) for path in files[:MOST]]


class Asked:
    """A language model, asked for each prompt ``count`` times with nothing but the prompt."""

    def __init__(self, model: ChatModel, count: int = MOST) -> None:
        self.model, self.count = model, count

    @property
    def name(self) -> str:
        return self.model.name

    def suggestions(self, cell: Cell) -> Sequence[Suggestion]:
        """Its answers. Raises ``ModelUnavailable``."""
        found = []
        for number in range(1, self.count + 1):
            step = f"{cell.key}/{number}"
            answer = self.model.ask(Request((Message("user", cell.prompt),), step, most=2048, seed=number))
            found.append(Suggestion(answer.text, step))
        return found


def _check(place: Path) -> None:
    """Raises ``SuggestionsInvalid`` for a folder that is no prompt's."""
    language, model, kernel = place.parts
    if language not in LANGUAGES:
        raise SuggestionsInvalid(f"The folder {place} names no language; that is one of {', '.join(LANGUAGES)}.")
    if f"{language}/{model}" not in MODELS:
        known = ", ".join(key.partition("/")[2] for key in MODELS if key.startswith(f"{language}/"))
        raise SuggestionsInvalid(f"The folder {place} names no programming model; that is one of {known}.")
    if kernel.removesuffix("-keyword") not in KERNELS:
        raise SuggestionsInvalid(f"The folder {place} names no kernel; that is one of {', '.join(KERNELS)}.")
    if kernel.endswith("-keyword") and not LANGUAGES[language].keyword:
        title = LANGUAGES[language].title
        raise SuggestionsInvalid(f"The folder {place} is of a prompt with a keyword, but {title} has none.")


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(LIMIT)
    except OSError as error:
        raise SuggestionsInvalid(f"{path} cannot be read: {error.strerror}.") from error


__all__ = ["Asked", "Folder", "Source"]
