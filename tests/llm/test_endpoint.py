"""Models behind HTTP: whatever the other side does, there is an answer, or one sentence and an end."""

from __future__ import annotations

import logging
import time

import pytest

pytest.importorskip("openai")

from kernelwright.errors import ModelMissing, ModelUnavailable
from kernelwright.llm import Answer, Endpoint, Message, Request, take_key

from .server import babbles, breaks_off, is_silent, never_ends, refuses, says, serving

KEY = "sk-secret-9f3a"
REQUEST = Request((Message("system", "You are short."), Message("user", "Hello?")), "1.1", most=50)


def ask(url: str, request: Request = REQUEST, **options: float) -> tuple[Answer, list[float]]:
    """The answer, and the pauses that were made for it."""
    pauses: list[float] = []
    model = Endpoint("scripted", key=KEY, base_url=url, sleep=pauses.append, **options)  # type: ignore[arg-type]
    return model.ask(request), pauses


def test_an_answer_comes_in_pieces_and_is_counted() -> None:
    heard: list[int] = []
    with serving(says("Hello you", pieces=3)) as seen:
        answer = Endpoint("scripted", key=KEY, base_url=seen.url).ask(REQUEST, heard.append)
    assert answer == Answer("Hello you", "stop", 11, 7)
    assert heard == sorted(heard)
    assert heard[-1] == 9
    (body,) = seen.bodies
    assert body["messages"] == [{"role": "system", "content": "You are short."}, {"role": "user", "content": "Hello?"}]
    assert (body["model"], body["max_tokens"], body["stream"]) == ("scripted", 50, True)
    assert seen.headers[0]["authorization"] == f"Bearer {KEY}"


def test_who_is_told_to_wait_waits_as_long_as_that() -> None:
    with serving(refuses(429, retry_after="7"), refuses(503), says("at last")) as seen:
        answer, pauses = ask(seen.url)
    assert answer.text == "at last"
    assert pauses[0] == 7
    assert 0 < pauses[1] < 7


@pytest.mark.parametrize("fault", [breaks_off, babbles, is_silent(0.4)], ids=["truncated", "no json", "silence"])
def test_a_broken_answer_is_asked_for_again(fault: object) -> None:
    with serving(fault, says("whole")) as seen:  # type: ignore[arg-type]
        answer, pauses = ask(seen.url, timeout=0.2)
    assert answer.text == "whole"
    assert len(pauses) == 1


def test_what_will_not_change_is_not_asked_again() -> None:
    with serving(refuses(401, f"the key {KEY} is wrong")) as seen, pytest.raises(ModelUnavailable) as fault:
        ask(seen.url)
    assert len(seen.bodies) == 1
    assert "401" in str(fault.value)
    assert KEY not in str(fault.value)


def test_it_gives_up_after_a_few_attempts() -> None:
    with serving(refuses(500)) as seen, pytest.raises(ModelUnavailable, match="3 times"):
        ask(seen.url, attempts=3)
    assert len(seen.bodies) == 3


def test_nobody_waits_beyond_the_end() -> None:
    late = Request(REQUEST.messages, "1.1", until=time.monotonic() + 5)
    with serving(refuses(429, retry_after="30")) as seen, pytest.raises(ModelUnavailable, match="429"):
        ask(seen.url, late)
    assert len(seen.bodies) == 1


def test_an_answer_without_an_end_is_cut_off() -> None:
    with serving(never_ends) as seen:
        answer, _ = ask(seen.url)
    assert answer.finish == "length"
    assert len(answer.text) < 8 * 50 + 1000


def test_time_ends_an_answer() -> None:
    hasty = Request(REQUEST.messages, "1.1", most=10**6, until=time.monotonic() + 0.3)
    with serving(never_ends) as seen:
        answer, _ = ask(seen.url, hasty)
    assert answer.finish == "late"


def test_whoever_listens_can_cancel() -> None:
    def stop(characters: int) -> None:
        raise KeyboardInterrupt

    with serving(never_ends) as seen, pytest.raises(KeyboardInterrupt):
        Endpoint("scripted", key=KEY, base_url=seen.url).ask(REQUEST, stop)


def test_nobody_there_is_one_sentence() -> None:
    with pytest.raises(ModelUnavailable, match=r"cannot be reached\.$"):
        ask("http://127.0.0.1:1/v1", attempts=2)


def test_the_key_is_nowhere_but_in_the_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(refuses(500, KEY), says(f"your key is {KEY}, is it not?")) as seen:
        model = Endpoint("scripted", key=KEY, base_url=seen.url, sleep=lambda seconds: None)
        answer = model.ask(REQUEST)
    assert answer.text == "your key is [key], is it not?"
    assert KEY not in caplog.text
    assert KEY not in repr(model)


def test_the_key_leaves_the_environment() -> None:
    environment = {"OPENAI_API_KEY": KEY, "PATH": "/bin"}
    assert take_key(environment) == KEY
    assert environment == {"PATH": "/bin"}
    with pytest.raises(ModelMissing, match="needs a key"):
        take_key(environment)
