"""Suites: folders of task files run in isolation, resumable, with their scores."""

from kernelwright.bench._isolate import WORKER, Limits, limits_for, run_isolated
from kernelwright.bench._partial import Partial, Settings, key_of
from kernelwright.bench._runner import Progress, run_suite
from kernelwright.bench._suite import SuiteTask, find_tasks, parse_only
from kernelwright.report import fast_p, geomean

__all__ = [
    "WORKER",
    "Limits",
    "Partial",
    "Progress",
    "Settings",
    "SuiteTask",
    "fast_p",
    "find_tasks",
    "geomean",
    "key_of",
    "limits_for",
    "parse_only",
    "run_isolated",
    "run_suite",
]
