"""A bundle's kernel as ``class ModelNew``: a file of its own in the task format's way of handing in a candidate."""

from __future__ import annotations

from ..targets import standalone
from ._bundle import Bundle
from ._forward import is_class, whole_text


def modelnew(bundle: Bundle) -> str:
    """The file. Its constructor and its parameters are the reference's. Raises ``ExportImpossible``."""
    task, candidate, recipe = bundle.task, bundle.candidate, bundle.recipe
    state = any(spec.source[0] == "state" for spec in candidate.plan.inputs) if candidate.plan is not None else False
    if task.kind == "pickled" and not state:
        return standalone(candidate, recipe).text()
    text = whole_text(task)
    if not is_class(task):
        return standalone(candidate, recipe).text()
    return standalone(candidate, recipe, reference=text, base=task.attribute).text()
