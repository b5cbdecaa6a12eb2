"""The reports: self-contained, complete, and safe for whatever a task is called."""

import re
from html.parser import HTMLParser

import made
import pytest

from kernelwright.report import Ceilings, failed_record, readable_machine, record, render_bench_html, render_html

CEILINGS = Ceilings(28e9, 230e9)
VOID = {"meta", "br", "line", "path", "rect", "circle", "img", "hr", "input", "link"}


class Tags(HTMLParser):
    """Collects tags and attributes, and checks that every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def assert_self_contained(page: str) -> None:
    tags = Tags(page)
    for tag, attributes in tags.seen:
        assert tag not in ("script", "link", "img", "iframe")
        assert not {"src", "href", "srcset"} & set(attributes)
    assert "@import" not in page
    assert re.findall(r"url\(", page) == []
    assert "prefers-color-scheme:dark" in page


@pytest.mark.parametrize("outcome", [made.won(), made.baseline(), made.unmeasured(), made.unscored(), made.failed()])
def test_every_status_gives_a_self_contained_page(outcome: object) -> None:
    page = render_html(outcome, ceilings=CEILINGS)  # type: ignore[arg-type]
    assert_self_contained(page)
    assert outcome.status in page  # type: ignore[attr-defined]
    assert outcome.reason in page  # type: ignore[attr-defined]


def test_page_of_a_win_shows_everything() -> None:
    machine = {"cpu": "AMD EPYC", "l2": 1 << 20, "peaks": {"copy": 28.0, "fp32": 2.3e11, "source": "gcc"}}
    page = render_html(
        made.won(),
        machine=readable_machine(machine),
        versions={"torch": "2.13"},
        command="kernelwright generate x.py",
        ceilings=CEILINGS,
    )
    text = re.sub(r"<[^>]+>", "", page)
    for part in ("2.76×", "1.79×", "58 %", "1 MiB", "28.0 GB/s", "230 GFLOP/s", "2.13", "kernelwright generate x.py"):
        assert part in text, part
    assert "off by 3.1 bounds" in text  # why a loser was rejected
    assert "parallel_for" in text  # the winner's source
    assert "nn.Linear(width, width)" in text  # the reference's
    assert page.count("<svg") == 3


def test_hostile_names_are_escaped() -> None:
    outcome = made.won("<script>alert(1)</script>")
    page = render_html(outcome, command="echo '</pre><script>'", ceilings=CEILINGS)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in render_bench_html([record(outcome)])


def test_long_sources_are_cut() -> None:
    source = "int x;\n" * 60_000
    outcome = made.won(winner=made.generated("big", source))
    page = render_html(outcome)
    assert "Cut here, 420000 characters in all" in page


def test_bench_page() -> None:
    rows = [record(made.won(f"level1/{i}_x", seconds=2e-4 * i)) for i in (3, 1, 2)]
    rows += [record(made.baseline("level1/4_b")), failed_record("level2/1_f", "It crashed.", 2.0)]
    page = render_bench_html(rows, versions={"torch": "2.13"}, title="Ours")
    assert_self_contained(page)
    charts = re.findall(r"<svg.*?</svg>", page, flags=re.S)
    assert len(charts) == 2
    names = re.findall(r">(level1/\d_\w)</text>", charts[0])
    assert names == ["level1/1_x", "level1/2_x", "level1/3_x", "level1/4_b"]  # fastest first
    assert "It crashed." in page
    assert "level2/1_f" not in charts[0]
    render_bench_html([])  # an empty suite must not fail
