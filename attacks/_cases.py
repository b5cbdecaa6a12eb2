"""The corpus as data: each file's first comments say what task it is for, what it does and what must become of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDERS = ("cheats", "mutants", "honest")
_FIELDS = ("task", "class", "mechanism", "expect", "open")


@dataclass(frozen=True)
class Case:
    """One candidate of the corpus.

    ``expect``: "accepted", "unscored", "unjudged" or "rejected"; ``reasons``: categories of the verdict that are right
    ones (all when empty). ``gainless``: it may be accepted as long as it is measured to be no faster than it is.
    ``open``: why the judge lets it through, for those that are known to get through.
    """

    path: Path
    task: Path
    kind: str
    mechanism: str
    expect: str
    reasons: tuple[str, ...]
    gainless: bool
    open: str

    @property
    def folder(self) -> str:
        return self.path.parent.name

    @property
    def name(self) -> str:
        return f"{self.folder}/{self.path.stem}"

    @property
    def digest(self) -> str:
        """Of the two texts that decide the outcome besides the judge; without the header, which only describes it."""
        _, _, code = self.path.read_text(encoding="utf-8").partition("\n\n")
        return hashlib.sha256(code.encode() + self.task.read_bytes()).hexdigest()[:16]


def load_corpus(match: str = "", folders: tuple[str, ...] = FOLDERS) -> list[Case]:
    """All cases whose name, class or task contains ``match``, those of one task together."""
    found = [
        _read(path)
        for folder in folders
        for path in sorted((HERE / folder).iterdir())
        if path.suffix in (".py", ".cpp") and not path.name.startswith("_")
    ]
    wanted = [c for c in found if any(match in text for text in (c.name, c.kind, c.task.stem))]
    return sorted(wanted, key=lambda c: (c.task.name, FOLDERS.index(c.folder), _number(c.path)))


def _number(path: Path) -> int:
    return int(path.stem.split("_")[0])


def _read(path: Path) -> Case:
    fields: dict[str, str] = {}
    last = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith(("#", "//")):
            break
        text = line.lstrip("#/").rstrip()
        key, colon, value = text.strip().partition(":")
        if colon and key in _FIELDS and not text.startswith("   "):
            last, fields[key] = key, value.strip()
        elif last:
            fields[last] += " " + text.strip()
    missing = [name for name in _FIELDS[:4] if name not in fields]
    if missing:
        raise ValueError(f"{path} has no line {missing[0]!r} among its first comments")
    status, _, rest = fields["expect"].partition(" ")
    rest, gainless, _ = rest.partition(" or no gain")
    reasons = tuple(r.strip() for r in rest.split(",") if r.strip())
    task = HERE / "tasks" / fields["task"]
    return Case(
        path, task, fields["class"], fields["mechanism"], status, reasons, bool(gainless), fields.get("open", "")
    )
