"""What was found, for people (terminal, HTML, pictures) and for programs (one JSON shape)."""

from kernelwright.report._build import build_table
from kernelwright.report._document import document_text, plain, to_json
from kernelwright.report._format import duration_text, interval_text, percent_text, ratio_text, seconds_text
from kernelwright.report._html import flatten, render_bench_html, render_html
from kernelwright.report._machine import readable_machine
from kernelwright.report._record import RIVALS, STATUSES, Record, distinct, failed_record, record, shrunk_rows
from kernelwright.report._roofline import Ceilings, svg_roofline
from kernelwright.report._scores import THRESHOLDS, fast_p, geomean, summary
from kernelwright.report._speedup import svg_speedup, svg_suite
from kernelwright.report._svg import Canvas
from kernelwright.report._terminal import (
    bench_table,
    comparison_table,
    error_text,
    headline,
    ratio_cell,
    scores_table,
    status_line,
    trials_table,
)

__all__ = [
    "RIVALS",
    "STATUSES",
    "THRESHOLDS",
    "Canvas",
    "Ceilings",
    "Record",
    "bench_table",
    "build_table",
    "comparison_table",
    "distinct",
    "document_text",
    "duration_text",
    "error_text",
    "failed_record",
    "fast_p",
    "flatten",
    "geomean",
    "headline",
    "interval_text",
    "percent_text",
    "plain",
    "ratio_cell",
    "ratio_text",
    "readable_machine",
    "record",
    "render_bench_html",
    "render_html",
    "scores_table",
    "seconds_text",
    "shrunk_rows",
    "status_line",
    "summary",
    "svg_roofline",
    "svg_speedup",
    "svg_suite",
    "to_json",
    "trials_table",
]
