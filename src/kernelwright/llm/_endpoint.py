"""Models behind an OpenAI-compatible endpoint, over HTTP, by way of the ``openai`` client.

Everything a network does is expected: refusals to hurry, silence, streams that break off, answers that are no JSON. The
client's own retries are switched off, for they know neither when the search ends nor how to tell what is happening.
"""

from __future__ import annotations

import importlib.util
import math
import os
import random
import time
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from ..errors import ModelMissing, ModelUnavailable
from ._chat import Answer, Progress, Request, estimate

KEY_VARIABLES = ("KERNELWRIGHT_API_KEY", "OPENAI_API_KEY")
_LONGEST = 60.0  # seconds of a pause, whatever the other side asks for
_FLOOD = 8  # characters for each token that was allowed: more is not read
_HIDDEN = "[key]"


class _Broken(Exception):
    """An answer that came, and is none."""


class Endpoint:
    """A model at ``base_url`` (the client's default without one).

    ``attempts`` at one answer, ``timeout`` seconds of silence for each. The key appears in no name, message or answer:
    whatever comes back is searched for it. ``sleep`` and ``clock`` are for tests.
    """

    def __init__(
        self,
        model: str,
        *,
        key: str,
        base_url: str | None = None,
        timeout: float = 60.0,
        attempts: int = 5,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if importlib.util.find_spec("openai") is None:
            raise ModelMissing("A model behind an endpoint needs the package openai: pip install 'kernelwright[llm]'.")
        self.name = model
        self._key, self._base_url = key, base_url
        self._timeout, self._attempts, self._sleep, self._clock = timeout, attempts, sleep, clock
        self._client: Any = None

    def ask(self, request: Request, progress: Progress = lambda characters: None) -> Answer:
        """The answer, after as many attempts as it takes; raises ``ModelUnavailable`` when there are no more."""
        for attempt in range(1, self._attempts + 1):
            try:
                return self._once(request, progress)
            except Exception as fault:
                pause = self._pause(fault, attempt)
                if pause is None or attempt == self._attempts or self._clock() + pause >= request.until:
                    times = "" if attempt == 1 else f", {attempt} times"
                    raise ModelUnavailable(f"{self.name} gave no answer{times}: {self._sentence(fault)}") from None
                self._sleep(pause)
        raise AssertionError("at least one attempt is made")

    def __repr__(self) -> str:
        return f"<Endpoint {self.name}>"

    # ── one attempt ──

    def _once(self, request: Request, progress: Progress) -> Answer:
        left = request.until - self._clock()
        if left <= 0:
            raise _Broken("no time was left to ask.")
        stream = self._connected().chat.completions.create(
            model=self.name,
            messages=[{"role": m.role, "content": m.content} for m in request.messages],
            max_tokens=request.most,
            temperature=request.temperature,
            seed=request.seed,
            stream=True,
            stream_options={"include_usage": True},
            timeout=min(self._timeout, left),
        )
        try:
            return self._read(stream, request, progress)
        finally:
            stream.close()

    def _read(self, stream: Any, request: Request, progress: Progress) -> Answer:
        parts: list[str] = []
        length, finish, usage = 0, "", None
        for text, reason, counted in map(_piece, _chunks(stream)):
            parts.append(text)
            length, finish, usage = length + len(text), reason or finish, counted or usage
            progress(length)
            if length > _FLOOD * request.most:
                finish = "length"
                break
            if self._clock() > request.until:
                finish = "late"
                break
        if not finish:
            raise _Broken("its answer broke off.")
        text = "".join(parts)
        asked, given = usage or (request.tokens, estimate(text))
        return Answer(self._scrub(text), finish if finish in ("length", "late") else "stop", asked, given)

    def _connected(self) -> Any:
        if self._client is None:
            import openai

            self._client = openai.OpenAI(api_key=self._key, base_url=self._base_url, max_retries=0)
        return self._client

    # ── what goes wrong ──

    def _pause(self, fault: Exception, attempt: int) -> float | None:
        """Seconds until the next attempt; None where another would end like this one. Other faults are passed on."""
        import openai

        if isinstance(fault, openai.APIStatusError):
            if fault.status_code not in (408, 409, 429) and fault.status_code < 500:
                return None
            asked = _seconds(fault.response.headers.get("retry-after"))
            return min(asked, _LONGEST) if asked is not None else self._backoff(attempt)
        if isinstance(fault, openai.APIError | _Broken):
            return self._backoff(attempt)
        raise fault

    def _backoff(self, attempt: int) -> float:
        return min(0.5 * 2**attempt, _LONGEST) * random.uniform(0.5, 1.0)

    def _sentence(self, fault: Exception) -> str:
        import openai

        if isinstance(fault, openai.APITimeoutError):
            return f"it was silent for {self._timeout:g} s."
        if isinstance(fault, openai.APIConnectionError):
            return "it cannot be reached."
        if isinstance(fault, openai.APIStatusError):
            return f"it answered with status {fault.status_code}: {self._scrub(_line(fault.message))}"
        return self._scrub(_line(str(fault))) or f"{type(fault).__name__}."

    def _scrub(self, text: str) -> str:
        return text.replace(self._key, _HIDDEN) if self._key else text


def _chunks(stream: Any) -> Iterator[Any]:
    """The stream's pieces; what is none is a broken answer, whichever library under the client says so."""
    import openai

    try:
        yield from stream
    except openai.OpenAIError:
        raise
    except ValueError as error:  # of JSON and of text
        raise _Broken("its answer is no JSON.") from error
    except Exception as error:
        raise _Broken("its answer broke off.") from error


def _piece(chunk: Any) -> tuple[str, str, tuple[int, int] | None]:
    """Text, reason to end, tokens counted: each where a chunk has it. Servers leave out whatever they like."""
    choices = getattr(chunk, "choices", None) or []
    usage = getattr(chunk, "usage", None)
    counted = (usage.prompt_tokens, usage.completion_tokens) if usage is not None else None
    if not choices:
        return "", "", counted
    delta = getattr(choices[0], "delta", None)
    content = getattr(delta, "content", None)
    return content if isinstance(content, str) else "", choices[0].finish_reason or "", counted


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _line(text: str, most: int = 300) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:most]


def take_key(environment: MutableMapping[str, str] = os.environ) -> str:
    """The key that the environment holds, taken out of it: no compiler or worker started later shall inherit it.

    Raises ``ModelMissing`` where there is none.
    """
    found = [environment.pop(name, "") for name in KEY_VARIABLES]
    key = next((value for value in found if value), "")
    if not key:
        raise ModelMissing(
            f"A model behind an endpoint needs a key in {KEY_VARIABLES[0]} or {KEY_VARIABLES[1]} "
            "(any word where the endpoint asks for none)."
        )
    return key
