"""What was found, for people (terminal, HTML, pictures) and for programs (one JSON shape)."""

from kernelwright.report._document import document_text, plain, to_json
from kernelwright.report._html import render_bench_html, render_html
from kernelwright.report._record import RIVALS, STATUSES, Record, failed_record, record
from kernelwright.report._roofline import Ceilings, svg_roofline
from kernelwright.report._scores import THRESHOLDS, fast_p, geomean, summary
from kernelwright.report._speedup import svg_speedup, svg_suite
from kernelwright.report._terminal import bench_table, comparison_table, scores_table, status_line, trials_table

__all__ = [
    "RIVALS",
    "STATUSES",
    "THRESHOLDS",
    "Ceilings",
    "Record",
    "bench_table",
    "comparison_table",
    "document_text",
    "failed_record",
    "fast_p",
    "geomean",
    "plain",
    "record",
    "render_bench_html",
    "render_html",
    "scores_table",
    "status_line",
    "summary",
    "svg_roofline",
    "svg_speedup",
    "svg_suite",
    "to_json",
    "trials_table",
]
