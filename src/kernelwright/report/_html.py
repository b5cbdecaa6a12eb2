"""Self-contained HTML: one file, no network, no script; light and dark as the reader's system says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import CppLexer, CudaLexer, DiffLexer, JsonLexer, PythonLexer, TextLexer

from kernelwright.archive import proof_text
from kernelwright.report._curve import svg_curve
from kernelwright.report._document import to_json
from kernelwright.report._family import Relative, family
from kernelwright.report._format import interval_text, percent_text, ratio_text, seconds_text
from kernelwright.report._record import RIVALS, Record, distinct, record
from kernelwright.report._roofline import Ceilings, svg_roofline
from kernelwright.report._scores import THRESHOLDS, fast_p, geomean
from kernelwright.report._speedup import svg_speedup, svg_suite
from kernelwright.report._svg import STYLE
from kernelwright.report._terminal import (
    RIVAL_NAMES,
    error_text,
    headline,
    note_text,
    status_line,
    worst_error,
)

if TYPE_CHECKING:
    from kernelwright.search._outcome import Outcome, Trial

LEXERS = {
    "cpp": CppLexer,
    "cuda": CudaLexer,
    "python": PythonLexer,
    "json": JsonLexer,
    "diff": DiffLexer,
    "text": TextLexer,
}
LANGUAGES = {"cpu": "cpp", "wasm": "cpp", "cuda": "cuda", "triton": "python"}
LONGEST_SOURCE = 200_000  # characters; a longer one is cut, for a browser must still open the page


def render_html(
    outcome: Outcome,
    *,
    machine: Mapping[str, Any] | None = None,
    versions: Mapping[str, Any] | None = None,
    command: str = "",
    ceilings: Ceilings | None = None,
) -> str:
    """The report of one task as one HTML text.

    ``machine`` and ``versions`` are shown as they are; ``command`` is what makes this report again; without
    ``ceilings`` there is no roofline picture.
    """
    winner = outcome.winner or (outcome.unmeasured.candidate if outcome.unmeasured is not None else None)
    return (
        _environment()
        .get_template("outcome.html")
        .render(
            title=f"{outcome.task.name} · kernelwright",
            outcome=outcome,
            row=record(outcome),
            sentence=headline(outcome),
            verdict_line=_verdict_line(outcome),
            proof_line=_proof_line(outcome),
            speedup=Markup(svg_speedup(outcome, standalone=False)),
            roofline=Markup(svg_roofline(outcome, ceilings)),
            curve=Markup(svg_curve(outcome)),
            trials=[
                _trial_row(t, outcome.winner.digest if outcome.winner is not None else "")
                for t in distinct(outcome.candidates)
            ],
            family=[
                _relative(r, outcome.winner.digest if outcome.winner is not None else "")
                for r in family(distinct(outcome.candidates))
            ],
            source=_highlight(winner.source, LANGUAGES.get(winner.target, "text")) if winner and winner.source else "",
            reference=_highlight(outcome.task.text, "python") if outcome.task.text else "",
            machine=flatten(machine or {}),
            versions=flatten(versions or {}),
            command=command,
            **_shared(),
        )
    )


def render_bench_html(
    records: Sequence[Record],
    *,
    machine: Mapping[str, Any] | None = None,
    versions: Mapping[str, Any] | None = None,
    command: str = "",
    title: str = "Benchmark",
) -> str:
    """The report of a suite: scores, a sorted bar chart against each rival and the table of tasks."""
    scores = [
        (RIVAL_NAMES[k], [percent_text(fast_p(records, p, k)) for p in THRESHOLDS], geomean(records, k)) for k in RIVALS
    ]
    return (
        _environment()
        .get_template("bench.html")
        .render(
            title=f"{title} · kernelwright",
            heading=title,
            counts=status_line(records),
            scores=scores,
            thresholds=THRESHOLDS,
            charts=[(RIVAL_NAMES[rival], Markup(svg_suite(records, rival))) for rival in RIVALS],
            rows=[(row, note_text(row)) for row in records],
            summary=to_json(records, {}, {})["summary"],
            machine=flatten(machine or {}),
            versions=flatten(versions or {}),
            command=command,
            **_shared(),
        )
    )


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as rows of text: {"cache": {"l1": 32}} gives [("cache l1", "32")]."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            rows += flatten(value, name)
        elif isinstance(value, list | tuple):
            rows.append((name, ", ".join(map(str, value))))
        else:
            rows.append((name, f"{value:.4g}" if isinstance(value, float) else str(value)))
    return rows


def _verdict_line(outcome: Outcome) -> str:
    """What the judge did, in a sentence."""
    verdict = outcome.verdict
    if verdict is None or not verdict.checks:
        return "No generated candidate is served, so there is no verdict to show." if outcome.winner is None else ""
    worst = max(check.error for check in verdict.checks)
    structures = sorted({check.structure for check in verdict.checks})
    plural = "" if len(verdict.checks) == 1 else "s"
    return (
        f"{verdict.status.capitalize()} by {len(verdict.checks)} comparison{plural} with a float64 oracle"
        f" ({', '.join(structures)} inputs); the largest error was {worst:.2g} of its bound. {verdict.determinism}"
    ).rstrip()


def _proof_line(outcome: Outcome) -> str:
    """What is proved without running anything, in a sentence."""
    text = proof_text(outcome.proof) if outcome.proof is not None else ""
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _trial_row(trial: Trial, served: str) -> dict[str, Any]:
    """One row of the table of candidates."""
    measured = trial.measurement
    speedup = {k: measured.speedup[k].median for k in RIVALS if measured is not None and k in measured.speedup}
    return {
        "label": trial.candidate.label or trial.candidate.proposer,
        "proposer": trial.candidate.proposer,
        "served": trial.candidate.digest == served,
        "status": trial.verdict.status,
        "error": error_text(worst_error(trial)),
        "seconds": seconds_text(measured.seconds if measured is not None else None),
        "eager": ratio_text(speedup.get("eager")),
        "compile": ratio_text(speedup.get("compile")),
        "when": f"{trial.seconds:.1f} s",
        "why": trial.verdict.reason,
        "category": trial.verdict.category,
        "notes": trial.candidate.notes,
    }


def _relative(relative: Relative, served: str) -> dict[str, Any]:
    """One line of the family tree, and what is under it."""
    row = _trial_row(relative.trial, served)
    return {
        **row,
        "depth": relative.depth,
        "kind": relative.kind,
        "features": relative.features,
        "others": relative.others,
        "diff": _highlight(relative.diff, "diff") if relative.diff else "",
    }


def _highlight(source: str, language: str) -> Markup:
    """Highlighted source; colours come from the page's style sheet, so they follow light and dark."""
    code = Markup(highlight(source[:LONGEST_SOURCE], LEXERS[language](), HtmlFormatter(cssclass="code")))
    if len(source) > LONGEST_SOURCE:
        code += Markup('<p class="muted">Cut here, {} characters in all.</p>').format(len(source))
    return code


def _shared() -> dict[str, Any]:
    """Style sheets and formatters that both pages use."""
    return {"svg_style": Markup(STYLE), "code_style": Markup(_code_style()), "rival_names": RIVAL_NAMES}


@cache
def _code_style() -> str:
    """Two pygments styles, the dark one inside a media query."""
    light = HtmlFormatter(style="default", cssclass="code").get_style_defs(".code")
    dark = HtmlFormatter(style="github-dark", cssclass="code").get_style_defs(".code")
    css = f"{light}\n@media (prefers-color-scheme:dark){{{dark}}}"
    return re.sub(r"\.code\s*\{[^}]*background[^}]*\}", "", css)  # the page's own paper shows through


@cache
def _environment() -> jinja2.Environment:
    """Templates lie beside this file; everything not marked safe is escaped."""
    env = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: files("kernelwright.report").joinpath(name).read_text("utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    env.filters.update(ratio=ratio_text, seconds=seconds_text, percent=percent_text, interval=interval_text)
    return env
