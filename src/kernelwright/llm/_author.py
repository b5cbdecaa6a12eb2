"""The author that is a language model: prompts out, answers in, candidates made of them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..targets import Candidate, Plan
from ._answer import Text, reaches_out, read_answer
from ._attempt import Attempt, Context, Draft
from ._chat import ChatModel, Progress, Request
from ._features import FEATURES, Credit, Features
from ._host import Host, host
from ._prompts import VERSION, Facts, fits, messages

PROPOSER = "llm"
_C_LIKE = ("cpp", "cuda")


class ChatProposer:
    """Asks a model for candidates of one task: ``plan`` is the interface that they fill.

    ``until`` says when answers are of no use any more (``time.monotonic``), ``most`` how many tokens one may have.
    A candidate's ``schedule`` says how it came about: step, kind, parents, features, prompt.
    """

    luck = 0.3  # the same request brings another kernel every time

    def __init__(
        self,
        model: ChatModel,
        facts: Facts,
        plan: Plan,
        *,
        target: str = "cpu",
        until: Callable[[], float] = lambda: float("inf"),
        most: int = 4096,
        temperature: float = 0.8,
        progress: Progress = lambda characters: None,
    ) -> None:
        self._model, self._facts, self._plan, self._target = model, facts, plan, target
        self._host: Host = host(target, plan)
        self._until, self._most, self._temperature, self._progress = until, most, temperature, progress
        self.credit: Credit | None = None  # of the search, for the prompts

    def beginnings(self) -> Sequence[Features]:
        return [frozenset()]

    def moves(self, parents: Sequence[Attempt]) -> Sequence[Features]:
        """One feature more or less, or those of two parents together."""
        single = [parent.features ^ {name} for parent in parents for name in FEATURES]
        return [*single, *(a.features | b.features for a in parents for b in parents if a is not b)]

    def write(self, context: Context) -> Draft:
        context = replace(context, parents=tuple(parent for parent in context.parents if fits(parent)))
        if context.kind != "begin" and not context.parents:
            context = replace(context, kind="begin")  # what is too long to be shown is begun anew
        elif context.kind == "combine" and len(context.parents) == 1:
            context = replace(context, kind="improve")
        request = Request(
            messages(context, self._facts, self._host_of(context), self.credit),
            context.step,
            most=self._most,
            temperature=self._temperature,
            seed=zlib.crc32(context.step.encode()),
            until=self._until(),
        )
        answer = self._model.ask(request, self._progress)
        return self._draft(read_answer(answer, self._host.entry), context)

    def _draft(self, text: Text, context: Context) -> Draft:
        fault = text.fault or (reaches_out(text.code) if self._host.language in _C_LIKE else "")
        features = text.features or context.features
        if fault:
            return Draft(None, features, fault, text.code)
        edited = self._edited(context)
        if edited is not None:
            source, plan = text.code, edited
        else:
            source, plan = self._host.wrap(text.code), self._plan
        return Draft(self._candidate(source, plan, features, context), features, text=text.code)

    def _candidate(self, source: str, plan: Plan, features: Features, context: Context) -> Candidate:
        origin = {
            "step": context.step,
            "kind": context.kind,
            "parents": [p.draft.candidate.digest for p in context.parents if p.draft.candidate is not None],
            "features": sorted(features),
            "model": self._model.name,
            "prompt": VERSION,
        }
        label = f"{self._model.name}/{context.step}"
        return Candidate(self._target, PROPOSER, source, plan, label, json.dumps(origin, sort_keys=True))

    def _edited(self, context: Context) -> Plan | None:
        """The plan of a parent whose whole source the model has rewritten: one of our compiler's, or edited before."""
        parent = context.parents[0].draft.candidate if context.parents else None
        if parent is None or parent.plan is None or parent.plan == self._plan:
            return None
        return parent.plan

    def _host_of(self, context: Context) -> Host:
        """Where a whole source is edited, its own entries are what must stay as they are."""
        if self._edited(context) is None:
            return self._host
        return replace(self._host, signature=_KEEP)


_KEEP = "// Edit the file that is given: its entries (__tvm_ffi_*), their arguments and its includes stay as they are."
