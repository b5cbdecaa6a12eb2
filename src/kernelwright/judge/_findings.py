"""What the static rules find, gathered: the labels' names in one place, whatever the language."""

from __future__ import annotations

from ._verdict import Label

LIBRARY = "calls a library operation"
PATCHES = "patches a module"
THREADS = "starts threads"
CLOCK = "reads the clock"
ADDRESSES = "looks at addresses"
FILES = "opens files"
NETWORK = "uses the network"
PROCESSES = "runs processes"
FRAMES = "walks frames or live objects"
REFERENCE = "reads the reference"
MODULES = "looks through loaded modules"
COMPUTED = "runs computed code"
NATIVE = "loads native code"
SYSCALLS = "makes system calls"
ASSEMBLY = "uses assembly"
SYMBOLS = "looks up symbols while it runs"
SETTINGS = "changes global settings"
ENVIRONMENT = "reads the environment"
EXITS = "ends the process"
SIGNALS = "handles signals"
MEMORY = "maps memory"
PROTECTION = "changes the protection of memory"
INTERCEPTS = "intercepts calls of torch"
SUBCLASS = "defines a tensor subclass"
EXTENSION = "builds an extension"
GPU = "needs a GPU"
STREAMS = "puts work on a stream of its own"
PRINTS = "prints"
PASTES = "pastes tokens"
OPENMP = "uses OpenMP"

_SHOWN = 3


class Findings:
    """Places by label; a label is forbidden when one of its places is."""

    def __init__(self) -> None:
        self._places: dict[str, list[tuple[str, bool]]] = {}
        self.prefix = ""  # before every place, e.g. of an extension inside a Python file

    def add(self, name: str, place: str, *, forbidden: bool = False) -> None:
        places = self._places.setdefault(name, [])
        place = f"{self.prefix}{place}"
        if all(place != known for known, _ in places):
            places.append((place, forbidden))

    def labels(self) -> tuple[Label, ...]:
        """Forbidden ones first, each with its first places."""
        found = []
        for name, places in self._places.items():
            shown = sorted(places, key=lambda p: not p[1])[:_SHOWN]
            more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
            forbidden = any(bad for _, bad in places)
            found.append(Label(name, ", ".join(place for place, _ in shown) + more, forbidden))
        return tuple(sorted(found, key=lambda label: (not label.forbidden, label.name)))
