"""The options that bring a language model into a search. Its key is never one: other users see command lines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kernelwright.cli._options import check_choice
from kernelwright.errors import OptionInvalid

if TYPE_CHECKING:
    from kernelwright.search import Models

PROPOSERS = ("compiler", "llm", "both")


@dataclass(frozen=True)
class Asked:
    """What was asked for, checked; nothing heavy is imported for it."""

    proposer: str
    model: str
    base_url: str | None
    record: Path | None
    replay: Path | None
    tokens: float
    money: float
    prices: tuple[float, float]

    def models(self) -> Models:
        """The same for the search."""
        from kernelwright.llm import ModelChoice
        from kernelwright.search import Models

        choice = ModelChoice(
            self.model, self.base_url, record=self.record, replay=self.replay,
            tokens=self.tokens, money=self.money, prices=self.prices,
        )  # fmt: skip
        return Models(self.proposer, choice)


def check_models(
    proposer: str,
    model: str | None,
    base_url: str | None,
    record: Path | None,
    replay: Path | None,
    tokens: int | None,
    money: float | None,
    price: str | None,
) -> Asked | None:
    """The options as one value; None where no model takes part. Raises ``OptionInvalid``."""
    check_choice("--proposer", proposer, PROPOSERS)
    given = {
        "--model": model, "--base-url": base_url, "--record": record, "--replay": replay,
        "--tokens": tokens, "--money": money, "--price": price,
    }  # fmt: skip
    used = [name for name, value in given.items() if value is not None]
    if proposer == "compiler":
        if used:
            raise OptionInvalid(f"{used[0]} is for language models; add --proposer llm or --proposer both.")
        return None
    if replay is not None and (model is not None or record is not None):
        raise OptionInvalid("--replay takes the place of a model; leave --model and --record out.")
    if replay is not None and not replay.is_file():
        raise OptionInvalid(f"--replay is {str(replay)!r}, which is no file.")
    if base_url is not None and model is None:
        raise OptionInvalid("--base-url needs the name of a model there: --model NAME.")
    if money is not None and price is None:
        raise OptionInvalid("--money needs to know what tokens cost: --price IN,OUT.")
    limits = {"--tokens": tokens, "--money": money}
    wrong = next((name for name, value in limits.items() if value is not None and not value > 0), None)
    if wrong is not None:
        raise OptionInvalid(f"{wrong} is {limits[wrong]:g}; it must be a number above 0.")
    return Asked(
        proposer, model or "", base_url, record, replay,
        math.inf if tokens is None else tokens, math.inf if money is None else money, _prices(price),
    )  # fmt: skip


def _prices(text: str | None) -> tuple[float, float]:
    if text is None:
        return 0.0, 0.0
    try:
        asked, given = (float(part) for part in text.split(","))
    except ValueError:
        asked = given = -1.0
    if not (0 <= asked < math.inf and 0 <= given < math.inf):
        raise OptionInvalid(f"--price is {text!r}; it must be two numbers such as 0.5,1.5.")
    return asked, given
