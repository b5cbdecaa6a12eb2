"""The judge: trusts nobody, says right or wrong with the one reason, and measures against what the user would run."""

from ._session import Session, judge
from ._verdict import Check, Measurement, Ratio, Rejected, Verdict

__all__ = ["Check", "Measurement", "Ratio", "Rejected", "Session", "Verdict", "judge"]
