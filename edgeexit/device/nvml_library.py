"""NVIDIA's management library (NVML), as `nvidia-ml-py` (module pynvml) calls it: opened once, its errors translated.

NVML comes with NVIDIA's driver. Every single call may not be supported by the GPU, the driver or the binding, whatever
opening the library said: on a Jetson it opens, shows one GPU, and supports nothing.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from edgeexit.errors import ClockBusy, ClockNotWritable, ClockRefused, DeviceError, DeviceNotFound

INVALID_ARGUMENT: Final = 2
NOT_SUPPORTED: Final = 3
NO_PERMISSION: Final = 4
NOT_FOUND: Final = 6
DRIVER_NOT_LOADED: Final = 9
LIBRARY_NOT_FOUND: Final = 12
FUNCTION_NOT_FOUND: Final = 13
GPU_IS_LOST: Final = 15
RESET_REQUIRED: Final = 16
OPERATING_SYSTEM: Final = 17
VERSION_MISMATCH: Final = 18
FREQUENCY_NOT_SUPPORTED: Final = 24
ARGUMENT_VERSION_MISMATCH: Final = 25
DEPRECATED: Final = 26

_NEVER = (NOT_SUPPORTED, NO_PERMISSION, LIBRARY_NOT_FOUND, FUNCTION_NOT_FOUND, OPERATING_SYSTEM, VERSION_MISMATCH)
_NOT_SO = (INVALID_ARGUMENT, FREQUENCY_NOT_SUPPORTED)
_UNSUPPORTED = "this GPU or its driver does not support it"
_ADVICE: Final = {
    NOT_SUPPORTED: _UNSUPPORTED,
    NO_PERMISSION: "it takes root or the capability CAP_SYS_ADMIN (in a container: --cap-add SYS_ADMIN)",
    DRIVER_NOT_LOADED: "load NVIDIA's driver: sudo modprobe nvidia",
    LIBRARY_NOT_FOUND: "there is no libnvidia-ml.so.1; it comes with NVIDIA's driver",
    FUNCTION_NOT_FOUND: _UNSUPPORTED,
    GPU_IS_LOST: "the GPU has fallen off its bus; reboot",
    RESET_REQUIRED: "reboot, or reset the GPU: sudo nvidia-smi --gpu-reset",
    VERSION_MISMATCH: "the driver was updated under the running kernel; reboot",
    DEPRECATED: _UNSUPPORTED,
}


class NvmlLibrary:
    """NVML, opened. NVML counts who has opened it, so several of these may be open at once.

    Raises:
        DeviceError: If there is no NVIDIA driver, or it does not answer; the message says why.
    """

    def __init__(self) -> None:
        try:
            import pynvml  # noqa: PLC0415  8,000 lines that machines without NVIDIA's driver hardly need
        except ImportError as error:
            raise DeviceError("NVML cannot be called: install nvidia-ml-py") from error
        self._pynvml: Any = pynvml
        self._open = True
        try:
            self.read("NVML cannot be opened", "nvmlInit")
        except DeviceError:
            self._open = False
            raise

    def read(self, failure: str, function: str, *arguments: Any) -> Any:
        """Call a function that changes nothing.

        Args:
            failure: What it means if it fails, for instance "the temperature of gpu cannot be read".
            function: Its name in nvml.h, which is that in pynvml.
            *arguments: For it, in pynvml's types.

        Raises:
            DeviceError: If it fails, in whatever way.
        """
        try:
            return self._call(function, *arguments)
        except self._pynvml.NVMLError as error:
            raise DeviceError(_message(failure, error)) from error
        except ValueError as error:
            raise DeviceError(f"{failure}: {error}") from error

    def set(self, failure: str, function: str, *arguments: Any) -> None:
        """Call a function that sets a clock.

        Args:
            failure: What it means if it fails.
            function: Its name in nvml.h.
            *arguments: For it, in pynvml's types.

        Raises:
            ClockNotWritable: If this process may not, or this GPU or driver cannot.
            ClockRefused: If NVML does not take the value.
            ClockBusy: If it fails in another way, for instance because the GPU is lost. Only then it is uncertain
                whether the clock was set.
        """
        try:
            self._call(function, *arguments)
        except self._pynvml.NVMLError as error:
            raise _class_of(error.value)(_message(failure, error)) from error

    def find_gpu(self, uuid: str) -> Any:
        """Return NVML's handle of a GPU.

        Raises:
            DeviceNotFound: If no GPU has this uuid.
            ClockBusy: If it does not answer.
        """
        failure = f"there is no way to the GPU {uuid}"
        try:
            return self._call("nvmlDeviceGetHandleByUUID", uuid)
        except self._pynvml.NVMLError as error:
            gone = error.value == NOT_FOUND
            raise (DeviceNotFound if gone else ClockBusy)(_message(failure, error)) from error

    def close(self) -> None:
        """Close it; a second call does nothing. Clocks that were locked stay locked."""
        if self._open:
            with contextlib.suppress(DeviceError):  # its driver is gone: nothing is left to close
                self.read("NVML cannot be closed", "nvmlShutdown")
            self._open = False

    def _call(self, function: str, *arguments: Any) -> Any:
        """Call through pynvml. After `close` every call answers "Uninitialized" instead of an error of NVML's use."""
        pynvml = self._pynvml
        if not self._open:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
        call = getattr(pynvml, function, None)
        if call is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        return call(*arguments)


def _class_of(code: int) -> type[DeviceError]:
    if code in (*_NEVER, ARGUMENT_VERSION_MISMATCH, DEPRECATED):
        return ClockNotWritable
    return ClockRefused if code in _NOT_SO else ClockBusy


def _message(failure: str, error: Any) -> str:
    """What was asked, NVML's own words and number, and what to do."""
    advice = _ADVICE.get(error.value)
    said = f"{failure}: {str(error).rstrip('.')} (NVML error {error.value})"
    return said if advice is None else f"{said}; {advice}"
