"""Answers on disk: written before they are used, so that a killed search asks for nothing twice; replayed offline.

A transcript is a file of JSON lines. An answer is kept under the step it was given for and not under the words of the
question, which hold measured times: those differ from run to run, the steps of a search do not.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..errors import ModelUnavailable, TranscriptInvalid
from ._chat import Allowance, Answer, ChatModel, Progress, Request

_VERSION = 1


class Transcript:
    """The answers of one file, by subject (a search and its settings) and step; on disk as soon as they are added."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._answers: dict[tuple[str, str], Answer] = {}
        self._models: dict[str, str] = {}
        if path.exists():
            self._read()

    def find(self, subject: str, step: str) -> Answer | None:
        """The answer that was recorded, if one was."""
        return self._answers.get((subject, step))

    def model(self, subject: str) -> str:
        """Whose answers they are; "" where there are none."""
        return self._models.get(subject, "")

    def add(self, subject: str, model: str, request: Request, answer: Answer) -> None:
        """Record an answer, with a digest of what was asked."""
        asked = json.dumps([asdict(message) for message in request.messages], sort_keys=True)
        line = {"version": _VERSION, "subject": subject, "model": model, "step": request.step, **asdict(answer)}
        line["request"] = hashlib.sha256(asked.encode()).hexdigest()
        self._append(json.dumps(line, sort_keys=True))
        self._keep(subject, request.step, model, answer)

    def _keep(self, subject: str, step: str, model: str, answer: Answer) -> None:
        self._answers.setdefault((subject, step), answer)
        self._models.setdefault(subject, model)

    def _append(self, line: str) -> None:
        """In one write, and on disk afterwards; a line that a kill cut short stays a line of its own."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(end - 1, 0))
                whole = end == 0 or file.read(1) == b"\n"
                file.write(b"" if whole else b"\n")
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise TranscriptInvalid(f"The transcript {self.path} cannot be written: {error.strerror}.") from error

    def _read(self) -> None:
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError as error:
            raise TranscriptInvalid(f"The transcript {self.path} cannot be read: {error.strerror}.") from error
        understood = [entry for entry in map(_entry, lines) if entry is not None]
        if any(line.strip() for line in lines) and not understood:
            raise TranscriptInvalid(f"{self.path} is no transcript: none of its lines holds an answer.")
        for entry in understood:
            answer = Answer(entry["text"], entry["finish"], entry["asked"], entry["given"])
            self._keep(entry["subject"], entry["step"], entry["model"], answer)


def _entry(line: bytes) -> dict[str, Any] | None:
    """A line's answer; None for one that was cut short."""
    kinds = {"subject": str, "step": str, "model": str, "text": str, "finish": str, "asked": int, "given": int}
    try:
        found = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in kinds.items())
    return found if whole else None


class Recorder:
    """A model whose answers are recorded before anybody sees them; what is recorded already is not asked again.

    ``allowance`` bounds what is asked for; answers that were paid for in an earlier run count as well.
    """

    def __init__(
        self, model: ChatModel, transcript: Transcript, subject: str, allowance: Allowance | None = None
    ) -> None:
        known = transcript.model(subject)
        if known and known != model.name:
            raise TranscriptInvalid(
                f"{transcript.path} holds answers of {known} for this task, not of {model.name}; give another file."
            )
        self._model, self._transcript, self._subject = model, transcript, subject
        self.allowance = allowance or Allowance()

    @property
    def name(self) -> str:
        return self._model.name

    def ask(self, request: Request, progress: Progress = lambda characters: None) -> Answer:
        answer = self._transcript.find(self._subject, request.step)
        if answer is None:
            allowed = replace(request, most=self.allowance.admit(request))
            answer = self._model.ask(allowed, progress)
            self._transcript.add(self._subject, self.name, request, answer)
        self.allowance.spend(answer)
        return answer


class Replay:
    """A model that says what a transcript holds, whatever the words of the question; the same every time, offline.

    Raises ``TranscriptInvalid`` for a transcript of other subjects.
    """

    def __init__(self, transcript: Transcript, subject: str) -> None:
        self._transcript, self._subject = transcript, subject
        if not transcript.model(subject):
            raise TranscriptInvalid(
                f"{transcript.path} holds no answers for this task with these settings; record them with --record."
            )

    @property
    def name(self) -> str:
        return self._transcript.model(self._subject)

    def ask(self, request: Request, progress: Progress = lambda characters: None) -> Answer:
        answer = self._transcript.find(self._subject, request.step)
        if answer is None:
            raise ModelUnavailable(f"The transcript {self._transcript.path} ends before {request.step}.")
        progress(len(answer.text))
        return answer
