"""What a language model is to the search: something that is asked with messages and answers with text.

Nothing here knows of kernels. An answer is a stranger's text; whoever uses it says what it is good for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ..errors import AllowanceSpent

Progress = Callable[[int], None]
_CHARACTERS = 4  # of one token, roughly, where nobody has counted


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Request:
    """``step`` says what the answer is for, and is unique in one search: under it the answer is kept.

    ``most``: tokens of the answer. ``until`` (``time.monotonic``): when nobody waits for it any more.
    """

    messages: tuple[Message, ...]
    step: str
    most: int = 4096
    temperature: float = 0.8
    seed: int = 0
    until: float = math.inf

    @property
    def tokens(self) -> int:
        """Of the messages, estimated."""
        return sum(estimate(message.content) for message in self.messages)


@dataclass(frozen=True)
class Answer:
    """``finish``: "stop", "length" (cut off at the limit) or "late" (cut off when time was up). Tokens asked, given."""

    text: str
    finish: str = "stop"
    asked: int = 0
    given: int = 0


class ChatModel(Protocol):
    """A language model behind whatever way there is to it."""

    @property
    def name(self) -> str:
        """Which model it is, for labels and transcripts; never holds a secret."""

    def ask(self, request: Request, progress: Progress = lambda characters: None) -> Answer:
        """The answer; ``progress`` hears of the characters so far, and cancels the request by raising.

        Raises ``ModelUnavailable`` when there is none to be had.
        """


@dataclass
class Allowance:
    """What a search may spend on a model: tokens (asked and given together) and money, whichever ends first.

    ``prices``: of a million tokens asked, and of a million given.
    """

    tokens: float = math.inf
    money: float = math.inf
    prices: tuple[float, float] = (0.0, 0.0)
    spent_tokens: int = field(default=0, init=False)
    spent_money: float = field(default=0.0, init=False)

    def admit(self, request: Request) -> int:
        """Tokens that the answer may have at most; raises ``AllowanceSpent`` when the request alone is too dear."""
        left = self.tokens - self.spent_tokens - request.tokens
        asking, giving = (price / 1e6 for price in self.prices)
        money = self.money - self.spent_money - request.tokens * asking
        most = min(left, money / giving if giving else math.inf, request.most)
        if most < 1 or money < 0:
            raise AllowanceSpent(
                f"The allowance for the model is spent: {self.spent_tokens} tokens, {self.spent_money:.4g} in money."
            )
        return int(most)

    def spend(self, answer: Answer) -> None:
        """Book an answer."""
        self.spent_tokens += answer.asked + answer.given
        self.spent_money += (answer.asked * self.prices[0] + answer.given * self.prices[1]) / 1e6


def estimate(text: str) -> int:
    """Tokens of a text where no model has counted them."""
    return -(-len(text) // _CHARACTERS)
