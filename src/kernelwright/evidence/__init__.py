"""Evidence: what an accepted kernel leaves behind so that anybody can build it, judge it and use it elsewhere."""

from ._bundle import Bundle, read_bundle
from ._gather import from_archive, gather
from ._recheck import OtherTask, Recheck, recheck

__all__ = ["Bundle", "OtherTask", "Recheck", "from_archive", "gather", "read_bundle", "recheck"]
