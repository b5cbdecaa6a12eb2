"""Evidence: what an accepted kernel leaves behind so that anybody can build it, judge it and use it elsewhere."""

from ._bundle import Bundle, read_bundle
from ._foreign import Imported, from_trace
from ._gather import from_archive, gather
from ._modelnew import modelnew
from ._recheck import OtherTask, Recheck, recheck
from ._trace import Exported, to_trace

__all__ = [
    "Bundle",
    "Exported",
    "Imported",
    "OtherTask",
    "Recheck",
    "from_archive",
    "from_trace",
    "gather",
    "modelnew",
    "read_bundle",
    "recheck",
    "to_trace",
]
