"""What a thread does at some neighbouring points of a nest: loads in vectors, statements, stores in vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..cpp._indices import flatten
from ..cpp._normal import Loop
from ..group import root
from ..program import Axis, Index, Load, Map
from ._kernel import Kernel
from ._operators import memory_type, value_type
from ._printer import Known, Printer, computed
from ._schedule import in_vectors
from ._text import SUM

Element = tuple[str, tuple[Index, ...]]


@dataclass
class Held:
    """Values of a row that a thread keeps in registers from one nest to the next: element -> its array.

    ``at`` is the place in the arrays, for a nest that is being printed.
    """

    arrays: dict[Element, str] = field(default_factory=dict)
    filled: set[Element] = field(default_factory=set)
    at: str = ""

    def remember(self, printer: Printer, element: Element, value: Known) -> None:
        """Put a value into its array."""
        if element in self.arrays and element not in self.filled:
            printer.body.effect(f"{self.arrays[element]}[{self.at}] = {value.name};")


def at_points(
    kernel: Kernel,
    printer: Printer,
    loops: Sequence[Axis],
    statements: Sequence[Loop],
    point: str,
    vector: int,
    act: Callable[[Printer, Loop], Known | None],
    held: Held | None = None,
    item: str = "",
) -> None:
    """Statements at the points ``point`` to ``point + vector - 1`` of a nest.

    ``act`` does what a reduction does at a point. ``held`` are arrays, in which ``item`` counts the thread's vectors.
    """
    held = held or Held()
    kernel.decode(printer, point, loops)
    made: set[Element] = set()
    if vector == 1:
        held.at = item or "0"
        _statements(kernel, printer, statements, {}, "", act, held, made)
        held.filled |= made
        return
    body, inner = kernel.body, loops[-1].name
    lane = body.name("v")
    held.at = f"{item} * {vector} + {lane}" if item else lane
    packed = _load_packs(printer, statements, inner, vector, held)
    stores = _store_packs(kernel, printer, statements, inner, vector)
    body.effect("#pragma unroll")
    body.open(f"for (int {lane} = 0; {lane} < {vector}; ++{lane})")
    each = printer.inner()
    each.axes[inner] = body.define(inner, kernel.number, f"{printer.axes[inner]} + {lane}", binds=SUM)
    for load, pack in packed:
        each.bind(load, f"{pack}[{lane}]")
    _statements(kernel, each, statements, stores, lane, act, held, made)
    body.close()
    for statement in statements:
        if statement.store in stores:
            place = printer.address(statement.store.tensor, statement.store.index)
            body.effect(f"kw::store({place}, {stores[statement.store]});")
    held.filled |= made


def _statements(
    kernel: Kernel,
    printer: Printer,
    statements: Sequence[Loop],
    stores: dict[object, str],
    lane: str,
    act: Callable[[Printer, Loop], Known | None],
    held: Held,
    made: set[Element],
) -> None:
    for element in held.filled:
        program_load = Load(element[0], element[1], computed(kernel.part.program.tensors[element[0]].dtype))
        printer.hold(program_load, f"{held.arrays[element]}[{held.at}]")
    for statement in statements:
        for load in kernel.part.program.loads(statement):
            element = (load.tensor, load.index)
            if element in held.arrays and element not in held.filled | made and load.fill is None:
                if printer.has_stored(load):
                    continue
                held.remember(printer, element, printer.value(load))
                made.add(element)
        if not isinstance(statement, Map):
            act(printer, statement)
            continue
        wanted = root(kernel.part.program, statement.store.tensor)
        value = printer.value(statement.value, kernel.value_name(wanted))
        if statement.store in stores:
            text = printer.stored_text(statement.store, value)
            printer.body.effect(f"{stores[statement.store]}[{lane}] = {text};")
        elif wanted not in kernel.part.local:
            printer.write(statement.store, value)
        kept = printer.keep(statement.store, value)
        element = (statement.store.tensor, statement.store.index)
        if element in held.arrays:
            held.remember(printer, element, kept)
            made.add(element)


def _load_packs(
    printer: Printer, statements: Sequence[Loop], inner: str, vector: int, held: Held
) -> list[tuple[Load, str]]:
    """Vectors that are loaded, each once, before the points."""
    found: dict[Element, tuple[Load, str]] = {}
    program = printer.program
    written = {(s.store.tensor, s.store.index) for s in statements}
    for load in (x for s in statements for x in program.loads(s)):
        element = (load.tensor, load.index)
        flat = flatten(program.tensors[load.tensor], load.index)
        if element in found or element in written or element in held.filled or load.fill is not None:
            continue
        if printer.knows(load) or not in_vectors(flat, inner, vector):
            continue
        pointer = printer.pointer(load.tensor)
        place = printer.address(load.tensor, load.index)
        kind = memory_type(program.tensors[load.tensor].dtype)
        pack = printer.body.define(
            f"{pointer}_pack", f"kw::Pack<{kind}, {vector}>", f"kw::load<{vector}>({place})", kind="load"
        )
        found[element] = (load, pack)
    return list(found.values())


def _store_packs(
    kernel: Kernel, printer: Printer, statements: Sequence[Loop], inner: str, vector: int
) -> dict[object, str]:
    """Vectors that are filled at the points and stored after them."""
    found: dict[object, str] = {}
    program = printer.program
    for statement in statements:
        store = statement.store
        if not isinstance(statement, Map) or root(program, store.tensor) in kernel.part.local:
            continue
        if in_vectors(flatten(program.tensors[store.tensor], store.index), inner, vector):
            pack = printer.body.name(f"{printer.pointer(store.tensor)}_pack")
            printer.body.effect(f"kw::Pack<{memory_type(program.tensors[store.tensor].dtype)}, {vector}> {pack};")
            found[store] = pack
    return found


def array(kernel: Kernel, held: Held, element: Element, items: int) -> None:
    """Room in registers for an element of a row."""
    dtype = computed(kernel.part.program.tensors[element[0]].dtype)
    name = kernel.body.name(f"{root(kernel.part.program, element[0])}_row")
    kernel.body.effect(f"{value_type(dtype)} {name}[{items}];")
    held.arrays[element] = name
