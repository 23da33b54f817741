"""Runs a bundle on a device: engine, loop and session."""

from edgeexit.runtime.battery import BatteryLife
from edgeexit.runtime.budget import Budget
from edgeexit.runtime.result import ClockStep, Result
from edgeexit.runtime.session import Session
from edgeexit.runtime.shadow import Shadow, ShadowReport

__all__ = ["BatteryLife", "Budget", "ClockStep", "Result", "Session", "Shadow", "ShadowReport"]
