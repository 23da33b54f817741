"""Every error that edgeexit raises on purpose.

Each class derives from :class:`EdgeExitError` and, where Python has a standard class for the
situation, from that too, so that ``except FileNotFoundError`` works as a user expects. A message
says what was asked, what was found and what to do.
"""

from __future__ import annotations


class EdgeExitError(Exception):
    """Base of every error that edgeexit raises on purpose."""


class BundleError(EdgeExitError, ValueError):
    """A bundle is damaged, unsafe or of an unknown format; the message names the file."""


class BundleNotFound(BundleError, FileNotFoundError):
    """No bundle has this name or path."""


class GraphError(EdgeExitError, ValueError):
    """An ONNX graph cannot be used or split as asked."""


class OpenCutError(GraphError):
    """A cut does not separate what lies before it from what lies after it.

    Attributes:
        missing: Names of the tensors that cross the cut and were not named in it.
    """

    def __init__(self, message: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


class EngineError(EdgeExitError, RuntimeError):
    """ONNX Runtime could not load or run a piece of a bundle."""


class InputError(EdgeExitError, ValueError):
    """An input has the wrong name, shape or dtype, or holds values that are not finite."""


class InferenceCancelled(EdgeExitError):
    """The cancel token was set before any exit had an answer."""


class OptionError(EdgeExitError, ValueError):
    """An option of a governor, an exit rule or a command is out of its range."""


class GovernorError(EdgeExitError, TypeError):
    """A governor, most likely one of another package, decided what is no decision."""


class PluginNotFound(EdgeExitError, LookupError):
    """No governor or exit rule of this name is installed."""


class CostTableError(EdgeExitError, ValueError):
    """A cost table is damaged, or is that of another bundle or board."""


class DataError(EdgeExitError, ValueError):
    """Sample data is missing, damaged or too small for what was asked."""


class MissingExtra(EdgeExitError, ImportError):
    """A feature needs a package that the installed extras do not bring."""


class DeviceError(EdgeExitError, RuntimeError):
    """Base of what can go wrong with a board, its clocks and its sensors."""


class DeviceNotFound(DeviceError, LookupError):
    """No device of this name is known."""


class ProfileError(DeviceError, ValueError):
    """A device profile is damaged or holds unknown or impossible values."""


class RecordingError(DeviceError, ValueError):
    """A board recording is damaged."""


class ClockNotWritable(DeviceError, PermissionError):
    """A clock could not be set; inference goes on at the clocks as they are."""


class ClockBusy(DeviceError, BlockingIOError):
    """A clock cannot be set just now: its cores are offline, or the driver is busy."""


class ClockRefused(DeviceError, ValueError):
    """The machine does not take this value for a clock."""


class LeaseTaken(DeviceError, RuntimeError):
    """Another process holds this machine's clocks."""


class JournalError(DeviceError, OSError):
    """What has to be put back cannot be written down or read, so no clock is changed."""


class ClockdRefused(DeviceError):
    """clockd does not do what it was asked.

    Attributes:
        fault: Which kind of refusal it is, in a word: one of `edgeexit.daemon.clockd.messages.Fault`.
    """

    def __init__(self, fault: str, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class ServeError(EdgeExitError, RuntimeError):
    """The daemon cannot start, or cannot be reached."""


class ModelNotFound(EdgeExitError, LookupError):
    """The daemon was not told to serve a model of this name or version."""


class ModelNotReady(EdgeExitError, RuntimeError):
    """A model is known to the daemon but not loaded."""


class Refused(EdgeExitError, RuntimeError):
    """The daemon does not take a request: its queue is full, or the answer cannot be in time.

    Attributes:
        retry_after_s: When another try may be worth it, in seconds; None if never, as not even an idle machine would
            be in time.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlinePassed(EdgeExitError, TimeoutError):
    """A request that was accepted could not be begun in time."""


class MalformedMessage(EdgeExitError, ValueError):
    """A message of the Open Inference Protocol is not as the protocol says."""


class TooLarge(MalformedMessage):
    """A message is beyond one of the limits on its size."""


class UnknownEncoding(MalformedMessage):
    """A message is compressed in a way that the daemon does not know."""


class Denied(EdgeExitError, PermissionError):
    """The daemon does not allow a request: the token is missing or wrong, or a page of another site sends it.

    Attributes:
        token_helps: True if the right token makes the difference (HTTP 401), False if nothing does (403).
    """

    def __init__(self, message: str, *, token_helps: bool) -> None:
        super().__init__(message)
        self.token_helps = token_helps


class ClocksUnavailable(UserWarning):
    """Warning: clocks of this machine are left alone; inference runs as it is."""


class ExitsDrifted(UserWarning):
    """Warning: the exits that answer are no longer distributed as they were in calibration."""


class AnswersDrifted(UserWarning):
    """Warning: early answers agree with the full network less often than in calibration."""


class ProfileMismatch(UserWarning):
    """Warning: a machine is taken for a board, as asked, that it does not say it is."""
