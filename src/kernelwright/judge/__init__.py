"""The judge: trusts nobody, says right or wrong with the one reason, and measures against what the user would run."""

from ._session import Session, judge
from ._verdict import Check, Measurement, OutOfTime, Ratio, Rejected, Verdict

__all__ = ["Check", "Measurement", "OutOfTime", "Ratio", "Rejected", "Session", "Verdict", "judge"]
