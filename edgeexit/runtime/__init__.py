"""Runs a bundle on a device: engine, loop and session."""

from edgeexit.runtime.result import ClockStep, Result
from edgeexit.runtime.session import Session

__all__ = ["ClockStep", "Result", "Session"]
