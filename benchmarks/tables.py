"""Writes ``docs/results.md`` from the files in ``benchmarks/results/``, so that no number is copied by hand.

python benchmarks/tables.py
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def machine(document: dict[str, Any], path: Path) -> str:
    """Where, with what and when a file was made."""
    about, versions = document["machine"], document["versions"]
    date = f", {document['date']}" if "date" in document else ""
    return (
        f"`{path.relative_to(ROOT)}`: {about['cpu']}, {about['cores']} cores, {about['simd_bits']}-bit SIMD; "
        f"PyTorch {versions['torch']}, {about['compiler']}{date}."
    )


def ratio(values: Sequence[float] | None) -> str:
    """[low, median, high] as text."""
    return "–" if not values else f"{values[1]:.2f} [{values[0]:.2f}, {values[2]:.2f}]"


# ── the suite ────────────────────────────────────────────────────────────────────────────────────────────────────


def suite(document: dict[str, Any], path: Path) -> str:
    tasks, summary = document["tasks"], document["summary"]
    timed = [t for t in tasks if t["speedup"].get("eager")]
    slower = sum(t["speedup"]["eager"] < 0.97 for t in timed)
    compiled = sum(t["speedup"].get("compile") is not None for t in tasks)
    facts = [
        ("tasks", len(tasks)),
        ("served correctly", sum(bool(t["correct"]) for t in tasks)),
        ("a generated kernel is served", sum(t["status"] == "won" for t in tasks)),
        ("geometric mean against eager", f"{summary['geomean']['eager']:.2f}×"),
        ("geometric mean against `torch.compile`", f"{summary['geomean']['compile']:.2f}× ({compiled} tasks)"),
        ("slower than 0.97× eager", slower),
        *_medians(tasks),
    ]
    rows = []
    for task in tasks:
        roofline = f"{task['roofline']:.0%}" if task["roofline"] else "–"
        served = {"won": "generated"}.get(task["status"], task["status"])
        rows.append((task["task"], served, _found(task, "eager"), _found(task, "compile"), roofline))
    lost = [f"- {t['task']}: {t['reason']}" for t in tasks if t["status"] != "won"]
    parts = [
        machine(document, path),
        table(("", ""), facts),
        table(("task", "served", "vs eager", "vs `torch.compile`", "of roofline"), rows),
        "Where a rewrite does with fewer operations than the reference, the roofline is that of its bytes.",
    ]
    if lost:
        parts += ["### Where no generated kernel is served", "\n".join(lost)]
    return "\n\n".join(parts)


def _medians(tasks: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    facts = []
    compiles = [s for t in tasks for s in _many(t.get("compile_seconds"))]
    if compiles:
        facts.append(("compile time of a candidate, median", f"{statistics.median(compiles):.2f} s"))
    first = [t["first_winner_seconds"] for t in tasks if t.get("first_winner_seconds")]
    if first:
        facts.append(
            ("first accepted winner, median and worst", f"{statistics.median(first):.1f} s, {max(first):.1f} s")
        )
    return facts


def _many(value: Any) -> list[float]:
    return list(value) if isinstance(value, list) else [value] if isinstance(value, int | float) else []


def _found(task: dict[str, Any], rival: str) -> str:
    median, interval = task["speedup"].get(rival), (task["interval"] or {}).get(rival)
    return ratio([interval[0], median, interval[1]]) if median and interval else f"{median:.2f}" if median else "–"


# ── the others ───────────────────────────────────────────────────────────────────────────────────────────────────


def contraction(document: dict[str, Any], path: Path) -> str:
    rows, rivals = document["rows"], sorted({name for row in document["rows"] for name in row["speedup"]})
    worst = [min(s[1] for s in row["speedup"].values()) for row in rows]
    below = sum(w < 0.9 for w in worst)
    head = f"{document['threads']} thread{'s' * (document['threads'] > 1)}; load {document['load']} when it began. "
    head += f"Of {len(rows)} cases {len(rows) - below} reach 0.9× the best library."
    cells = [
        (r["case"], f"{r['gflops']:.0f}", f"{r['peak_percent']:.0f} %", *(ratio(r["speedup"].get(n)) for n in rivals))
        for r in rows
    ]
    return "\n\n".join((machine(document, path), head, table(("case", "GFLOP/s", "of peak", *rivals), cells)))


def memory(document: dict[str, Any], path: Path) -> str:
    parts = [machine(document, path)]
    for group, head in (("large", "More than the last cache holds"), ("small", "Calls on a few elements")):
        rows = [row for row in document["rows"] if row["group"] == group]
        rivals = sorted({name for row in rows for name in row["speedup"]})
        cells = [
            (
                row["case"],
                f"{row['microseconds']:.1f}",
                *([f"{row['roofline']:.0%}"] if group == "large" else []),
                *(ratio(row["speedup"].get(name)) for name in rivals),
            )
            for row in rows
        ]
        columns = ("case", "µs", *(["of bandwidth"] if group == "large" else []), *rivals)
        parts += [f"### {head}", table(columns, cells)]
    return "\n\n".join(parts)


def training(document: dict[str, Any], path: Path) -> str:
    rows = []
    for result in document["results"]:
        for kind in ("training", "inference"):
            found = result[kind]
            spans = [
                ratio([found["quartiles"][n][0], found["speedup"][n], found["quartiles"][n][1]])
                for n in ("eager", "inductor")
            ]
            error = result["loss_error" if kind == "training" else "inference_error"]["kernelwright"]
            rows.append(
                (f"{result['model']}, {kind}", f"{1e3 * found['seconds']['kernelwright']:.2f}", *spans, f"{error:.1e}")
            )
    steps = document["results"][0]["steps"]
    note = f"Last column: the largest relative difference of {steps} steps' losses, or of an answer, from eager's."
    return "\n\n".join(
        (machine(document, path), table(("", "ms", "vs eager", "vs Inductor", "differs by"), rows), note)
    )


FAMILIES = {
    "A": "not doing the work", "B": "reusing results", "C": "the clock", "D": "the evidence",
    "E": "numerics and domain",
}  # fmt: skip


def attacks(document: dict[str, Any], path: Path) -> str:
    """What became of the corpus that proves the judge."""
    cases, rows = document["cases"], []
    for name, chosen in _groups(cases):
        count = [sum(c["status"] == status for c in chosen) for status in ("accepted", "rejected", "unjudged")]
        rows.append((name, len(chosen), *count, sum(c["outcome"] not in ("right", "other reason") for c in chosen)))
    through = [c for c in cases if not c["name"].startswith("honest") and c["status"] == "accepted"]
    odd = [c for c in cases if c["outcome"] != "right" and c not in through]
    notes = [f"- {c['name']}: {_through(c)}" for c in through]
    notes += [f"- {c['name']}: {c['outcome']}, {c['category'] or c['status']}: {c['reason']}" for c in odd]
    parts = [
        f"{machine(document, path)} {document['seconds']:.0f} s for {len(cases)} cases.",
        table(("", "cases", "accepted", "rejected", "not judged", "not as it must be"), rows),
    ]
    if notes:
        parts.append("Accepted cheats, and whatever else was not as expected:\n\n" + "\n".join(notes))
    return "\n\n".join(parts)


def _through(case: dict[str, Any]) -> str:
    if case["outcome"] == "right":
        return "accepted: its results are right, and no faster than they were found to be"
    return f"accepted: {case['open'] or 'open'}"


def field(document: dict[str, Any], path: Path) -> str:
    """Cheats that each evaluator accepts, and honest kernels that it does not."""
    rows, names = document["rows"], ("kernelwright", "KernelBench", "robust-kbench")
    cells: list[tuple[object, ...]] = []
    for title, chosen in _groups(rows):
        honest = title == "honest"
        what = "not accepted" if honest else "accepted"
        found = [sum((r[name] == "accepted") != honest for r in chosen) for name in names]
        cells.append((f"{title}: {what}, of {len(chosen)}", *found))
    note = (
        "Python candidates alone. The published checks are written anew from their protocols (`attacks/field.py`): "
        "five trials of public seeds with a tolerance of 1e-4 (1e-2 for half types), reference first; and five trials "
        "with 1e-5, the candidate before and after the reference. Without a GPU they cannot run the Triton and CUDA "
        "cases: one honest kernel counts against them for that, and a few cheats for them. Of the honest ones that we "
        "do not accept both are unjudged, not rejected. Row by row: [trust-table.md](trust-table.md)."
    )
    head = ("candidate", "row of the catalogue", "mechanism", *names)
    lines = [
        (r["name"], r["class"], r["mechanism"].replace("|", "\\|"), *(r[n] for n in names))
        for r in sorted(rows, key=lambda r: r["name"])
    ]
    page = ("# What evaluators accept", f"Written by `python benchmarks/tables.py` from {machine(document, path)}")
    (ROOT / "docs" / "trust-table.md").write_text("\n\n".join((*page, table(head, lines))) + "\n")
    return "\n\n".join((machine(document, path), note, table(("", *names), cells)))


def cost(document: dict[str, Any], path: Path) -> str:
    """What judging costs, and when the first winner is there."""
    rows = [
        (name, f"{v['median']:.3f} s", f"{v['p90']:.3f} s", f"{v['worst']:.3f} s", v["count"])
        for name, v in document["summary"].items()
    ]
    return "\n\n".join((machine(document, path), table(("", "median", "p90", "worst", "cases"), rows)))


def faults(document: dict[str, Any], path: Path) -> str:
    """What became of verdicts and records while processes were killed."""
    made = Counter(row["killed"] for row in document["rounds"])
    bad = Counter(row["killed"] for row in document["rounds"] if row["fault"])
    rows = [(f"{name} killed, rounds", count, bad[name]) for name, count in made.items()]
    rows += [(name, 1, int(bool(fault))) for name, fault in document["others"].items()]
    return "\n\n".join((machine(document, path), table(("", "times", "faults"), rows)))


def proof(document: dict[str, Any], path: Path) -> str:
    """Of how many kernels the indices are proved."""
    found = document["totals"]
    facts = [
        ("kernels of the suite", found["kernels"]),
        ("no access leaves its buffer, no two threads meet, every element is written", found["kernels_proved"]),
        ("tasks", found["tasks"]),
        ("all kernels proved", found["tasks_proved"]),
        ("and every element written exactly once", found["tasks_proved_once"]),
        (
            "processor time for a task, median and longest",
            f"{found['cpu_seconds_median']} s, {found['cpu_seconds_max']} s",
        ),
    ]
    why = sorted(found["why_not"].items(), key=lambda pair: -pair[1])
    parts = (machine(document, path), table(("", ""), facts), table(("not proved, because", "kernels"), why))
    return "\n\n".join(parts)


def triton(document: dict[str, Any], path: Path) -> str:
    """How much of the suite Triton expresses; nothing of it is timed."""
    counts, versions = document["counts"], document["versions"]
    wrong = [name for name, task in document["tasks"].items() if task["status"] != "right"]
    facts = [
        ("tasks", sum(counts.values())),
        ("interpreted and right at small sizes", counts["right"]),
        ("with calls of ATen left", document["with_aten_calls"]),
        (f"kernels compiled for {document['architecture']}", document["kernels"]),
        ("of them with spilled registers, first schedule", document["kernels_that_spill"]),
    ]
    made = f"Triton {versions['triton']}, PyTorch {versions['torch']}, {document['date']}"
    parts = [f"`{path.relative_to(ROOT)}`: {made}. No GPU.", table(("", ""), facts)]
    if wrong:
        parts.append("Not right: " + ", ".join(wrong) + ".")
    return "\n\n".join(parts)


def lowbit(document: dict[str, Any], path: Path) -> str:
    own = {row["kind"] for row in document["rows"]}
    names = sorted({name for row in document["rows"] for name in row["speedup"]} - own)
    head = ("weights", "size", "rows of x", "time", "floor", *(f"× {name}" for name in names), "÷ time of `i4`")
    rows = []
    for row in document["rows"]:
        rows.append(
            (
                row["kind"],
                f"{row['outputs']}×{row['inputs']}",
                row["rows"],
                f"{row['microseconds']:.0f} µs",
                f"{row['floor']:.0%}",
                *(ratio(row["speedup"].get(name)) for name in names),
                f"{1 / row['speedup']['i4'][1]:.2f}" if "i4" in row["speedup"] else "1",
            )
        )
    text = (
        f"{machine(document, path)} {document['threads']} threads, groups of 128, float32 activations, weights "
        'that come from memory; "planes" are of signs, "tables" look integers up. The floor is the share of the '
        "time that reading the weight's bytes takes at this machine's pace."
    )
    return text + "\n\n" + table(head, rows)


def lowbit_model(document: dict[str, Any], path: Path) -> str:
    quality = document["perplexity"]
    facts = [
        ("model", f"`{document['model']}`"),
        ("continuations of 40 tokens equal to the dequantised float32 network's", _share(document["same"])),
        ("perplexity of a fixed text, dequantised", f"{quality['dequantised']:.4f}"),
        ("ours relative to it", f"{quality['own'] / quality['dequantised'] - 1:+.5%}"),
    ]
    for threads, rates in document["tokens_per_second"].items():
        shown = ", ".join(f"{name} {statistics.median(each):.0f}" for name, each in rates.items())
        facts.append((f"tokens a second on {threads} threads", shown))
    return machine(document, path) + "\n\n" + table(("", ""), facts)


def autotriton(document: dict[str, Any], path: Path) -> str:
    models = {"SFT": "sft", "then GRPO": "grpo", "then GRPO without the rules": "grpo without rules"}
    channels = ("execution accuracy", "right but delegating")
    rows = []
    for shown, model in models.items():
        for how in ("drawn", "greedy"):
            found = [[kept[model][how][channel] for kept in document["seeds"]] for channel in channels]
            rows.append((shown, how, *(", ".join(f"{share:.1%}" for share in each) for each in found)))
    text = (
        f"{machine(document, path)} Shares of answers to held-out specs, for each seed; "
        f"{document['settings']['delegating']:.0%} of the answers that were imitated call PyTorch. Drawn: at "
        "temperature 1, two a spec."
    )
    if "without sft" in document:
        text += f" GRPO without SFT before it: {document['without sft']['drawn'][channels[0]]:.1%}, drawn."
    return text + "\n\n" + table(("model", "answers", "right, in Triton", "right, by PyTorch"), rows)


def _share(values: Sequence[bool]) -> str:
    return f"{sum(values)} of {len(values)}"


def _groups(rows: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Cheats by family, mutants, honest kernels."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        folder, kind = row["name"].split("/")[0], row.get("kind") or row["class"]
        found.setdefault(f"cheats, {FAMILIES[kind[0]]}" if folder == "cheats" else folder, []).append(row)
    order = [f"cheats, {name}" for name in FAMILIES.values()] + ["mutants", "honest"]
    return [(name, found[name]) for name in order if name in found]


CHAPTERS = (
    ("Our suite", "suite-*.json", suite),
    ("Training and inference with `torch.compile(backend=\"kernelwright\")`", "training-*.json", training),
    ("Contractions", "contraction-*.json", contraction),
    ("Memory and small calls", "memory-*.json", memory),
    ("Products with low-bit weights", "lowbit-*.json", lowbit),
    ("A language model with low-bit products", "language-model-*.json", lowbit_model),
    ("The corpus that proves the judge", "attacks-*.json", attacks),
    ("The corpus before published checks", "field-*.json", field),
    ("What judging costs", "judge-*.json", cost),
    ("Killed processes, full disks, jumping clocks", "faults-*.json", faults),
    ("Indices proved", "proof-*.json", proof),
    ("The suite in Triton, without a GPU", "triton-*.json", triton),
    ("A tiny model that learns to write Triton", "autotriton*.json", autotriton),
)  # fmt: skip


def main() -> None:
    parts = [
        "# Results",
        "Written by `python benchmarks/tables.py` from the files in `benchmarks/results/`. A ratio above 1 means that "
        "ours is faster: the median over the rounds of one interleaved run, interval or quartiles in brackets.",
    ]
    for title, pattern, chapter in CHAPTERS:
        for path in sorted(RESULTS.glob(pattern)):
            parts += [f"## {title}", chapter(json.loads(path.read_text()), path)]
    (ROOT / "docs" / "results.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
