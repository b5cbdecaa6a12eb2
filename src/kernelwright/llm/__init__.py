"""Language models as proposers: what they write is a stranger's, and is judged behind walls like everybody's.

A :class:`ChatModel` answers messages: behind an endpoint, in a local file, or replayed from a transcript. An
:class:`Author` makes candidates: of a model's answers, or of a space of choices without any model.
:class:`FeatureSearch` decides what to ask for next.
"""

from ._answer import reaches_out, read_answer
from ._attempt import STAGES, Attempt, Author, Context, Draft, Grade
from ._author import PROPOSER, ChatProposer
from ._chat import Allowance, Answer, ChatModel, Message, Request
from ._choice import ModelChoice, connect, subject_of
from ._endpoint import KEY_VARIABLES, Endpoint, take_key
from ._features import FEATURES, Credit, Features
from ._local import LocalModel
from ._profile import machine_facts, work_facts
from ._prompts import VERSION, Facts
from ._search import FeatureSearch
from ._template import Space, TemplateProposer
from ._transcript import Recorder, Replay, Transcript

__all__ = [
    "FEATURES",
    "KEY_VARIABLES",
    "PROPOSER",
    "STAGES",
    "VERSION",
    "Allowance",
    "Answer",
    "Attempt",
    "Author",
    "ChatModel",
    "ChatProposer",
    "Context",
    "Credit",
    "Draft",
    "Endpoint",
    "Facts",
    "FeatureSearch",
    "Features",
    "Grade",
    "LocalModel",
    "Message",
    "ModelChoice",
    "Recorder",
    "Replay",
    "Request",
    "Space",
    "TemplateProposer",
    "Transcript",
    "connect",
    "machine_facts",
    "reaches_out",
    "read_answer",
    "subject_of",
    "take_key",
    "work_facts",
]
