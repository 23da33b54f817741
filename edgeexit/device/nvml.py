"""NVIDIA GPUs by NVML: clocks, energy, power, temperature, and why clocks are held down.

What a GPU can do is found out by trying each thing once, by reading: a Jetson's NVML opens, shows one GPU, and supports
nothing. Only whether a clock may be locked cannot be known without locking it.

NVML's units are MHz, mW and mJ; they do not leave the `nvml` files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from edgeexit.clock import MonotonicClock
from edgeexit.device.nvml_clock import NvmlDomain, NvmlKnob, thin
from edgeexit.device.nvml_library import NvmlLibrary
from edgeexit.device.nvml_meter import RELATIVE_ERROR, UPDATE_S, NvmlMeter
from edgeexit.device.sampler import SampledMeter
from edgeexit.errors import DeviceError
from edgeexit.protocols import Clock, PowerMeter

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

Reading = TypeVar("Reading")

VOLTA: Final = 5
"""NVML_DEVICE_ARCH_VOLTA; nvml.h has locked clocks from there on."""
GRAPHICS_CLOCK: Final = 0
SM_CLOCK: Final = 1
GPU_SENSOR: Final = 0
POWER_INSTANT_FIELD: Final = 186
REASONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        0x04: "power cap",
        0x08: "hw slowdown",
        0x10: "sync boost",
        0x20: "sw thermal slowdown",
        0x40: "hw thermal slowdown",
        0x80: "hw power brake",
        0x100: "display clock",
    }
)
"""nvmlClocksEventReason* of nvml.h; idle (0x01) and clocks that were asked for (0x02) hold nothing down."""

_UUID = r"GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_KEY = re.compile(rf"nvml/({_UUID})/locked_clocks")


class NvmlGpu:
    """One GPU, and what of it works. Reading a condition never raises: what cannot be read is None.

    Args:
        library: NVML.
        handle: NVML's of the GPU.
        label: "gpu", or "gpu" with NVML's number of it where there are several.
        clock: What tells the time of power samples.

    Attributes:
        name: Its model, for instance "Tesla V100-SXM2-16GB".
        uuid: Names it on every machine and after every boot; None if NVML does not tell.
        domain: Its clock; None if that cannot be locked.
        meter: Its energy: a counter, or sampled power; None if it has neither.
    """

    def __init__(self, library: NvmlLibrary, handle: Any, label: str, clock: Clock) -> None:
        self._library = library
        self._handle = handle
        self._label = label
        self._cannot: dict[str, str] = {}
        self.name = self._read_text("name", "nvmlDeviceGetName") or "NVIDIA GPU"
        self.uuid = self._read_text("uuid", "nvmlDeviceGetUUID")
        self._temperature = self._first("temperature", self._temperature_c, self._old_temperature_c)
        self._power = self._first("power", self._instant_power_w, self._usual_power_w)
        self._reasons = self._first("event reasons", self._event_reasons, self._throttle_reasons)
        self.domain = self._find_domain()
        self.meter = self._find_meter(clock)

    @property
    def cannot(self) -> Mapping[str, str]:
        """What does not work, and why: "clocks", "energy", "power", "temperature", "event reasons", "name", "uuid"."""
        return MappingProxyType(self._cannot)

    def read_temperature_c(self) -> float | None:
        """Return its temperature in Celsius."""
        return _read_or_none(self._temperature)

    def read_power_w(self) -> float | None:
        """Return what the card draws, in watts: of now where NVML tells that, else what it calls the usage.

        The usage is the mean of the last second on Ampere and later (nvml.h, nvmlDeviceGetPowerUsage).
        """
        return _read_or_none(self._power)

    def read_event_reasons(self) -> tuple[str, ...] | None:
        """Return why its clocks are held down just now, for instance ("power cap",); empty if they are not."""
        bits = _read_or_none(self._reasons)
        return None if bits is None else tuple(words for bit, words in REASONS.items() if bits & bit)

    def close(self) -> None:
        """Stop the thread that samples its power, if there is one; its clock stays as it is."""
        if isinstance(self.meter, SampledMeter):
            self.meter.close()

    def _find_meter(self, clock: Clock) -> PowerMeter | None:
        name = f"{self._label} (NVML)"
        counter = self._first("energy", self._energy_mj)
        if counter is not None:
            return NvmlMeter(name, counter)
        if self._power is None:
            return None
        return SampledMeter(name, self.read_power_w, interval_s=UPDATE_S, relative_error=RELATIVE_ERROR, clock=clock)

    def _find_domain(self) -> NvmlDomain | None:
        read_mhz = self._first("clocks", self._sm_mhz, self._graphics_mhz)
        if read_mhz is None:
            return None
        try:
            uuid = self._require_lockable()
            points_mhz = self._read_points_mhz()
        except DeviceError as error:
            self._cannot["clocks"] = str(error)
            return None
        return NvmlDomain(self._label, thin(points_mhz), NvmlKnob(self._library, self._handle, uuid), read_mhz)

    def _require_lockable(self) -> str:
        """Return the uuid that the journal will know it by; raise if the lock is known not to work."""
        if self.uuid is None or re.fullmatch(_UUID, self.uuid) is None:
            raise DeviceError(f"{self._label}: no journal can name it by its uuid {self.uuid!r}, so it is not locked")
        try:
            architecture = self._get("nvmlDeviceGetArchitecture")
        except DeviceError:
            return self.uuid
        if architecture < VOLTA:
            raise DeviceError(f"{self._label}: {self.name} is older than Volta, whose clock was the first to be locked")
        return self.uuid

    def _read_points_mhz(self) -> list[int]:
        """Return the graphics clocks at the fastest memory clock, ascending, none above what the GPU may run at."""
        fastest_mhz = max(self._get("nvmlDeviceGetSupportedMemoryClocks"), default=0)
        clocks_mhz = set(self._get("nvmlDeviceGetSupportedGraphicsClocks", fastest_mhz))
        for limit in ("nvmlDeviceGetMaxClockInfo", "nvmlDeviceGetMaxCustomerBoostClock"):
            try:
                highest_mhz = self._get(limit, GRAPHICS_CLOCK)
            except DeviceError:
                continue
            clocks_mhz = {mhz for mhz in clocks_mhz if mhz <= highest_mhz}
        if not clocks_mhz:
            raise DeviceError(f"{self._label}: NVML lists no clocks for it")
        return sorted(clocks_mhz)

    def _first(self, capability: str, *readers: Callable[[], Reading]) -> Callable[[], Reading] | None:
        """Try the readers in turn; return the first that answers, or note why the last does not."""
        for reader in readers:
            try:
                reader()
            except DeviceError as error:
                self._cannot[capability] = str(error)
            else:
                self._cannot.pop(capability, None)
                return reader
        return None

    def _read_text(self, capability: str, function: str) -> str | None:
        try:
            return str(self._get(function))
        except DeviceError as error:
            self._cannot[capability] = str(error)
            return None

    def _get(self, function: str, *arguments: Any) -> Any:
        return self._library.read(f"{self._label}: {function} failed", function, self._handle, *arguments)

    def _sm_mhz(self) -> int:
        return int(self._get("nvmlDeviceGetClockInfo", SM_CLOCK))

    def _graphics_mhz(self) -> int:
        return int(self._get("nvmlDeviceGetClockInfo", GRAPHICS_CLOCK))

    def _energy_mj(self) -> int:
        return int(self._get("nvmlDeviceGetTotalEnergyConsumption"))

    def _temperature_c(self) -> float:
        return float(self._get("nvmlDeviceGetTemperatureV", GPU_SENSOR))

    def _old_temperature_c(self) -> float:
        return float(self._get("nvmlDeviceGetTemperature", GPU_SENSOR))

    def _instant_power_w(self) -> float:
        (field,) = self._get("nvmlDeviceGetFieldValues", [POWER_INSTANT_FIELD])
        if field.nvmlReturn != 0:
            raise DeviceError(f"{self._label}: its power of now cannot be read (NVML error {field.nvmlReturn})")
        return float(field.value.uiVal) / 1000.0

    def _usual_power_w(self) -> float:
        return float(self._get("nvmlDeviceGetPowerUsage")) / 1000.0

    def _event_reasons(self) -> int:
        return int(self._get("nvmlDeviceGetCurrentClocksEventReasons"))

    def _throttle_reasons(self) -> int:
        return int(self._get("nvmlDeviceGetCurrentClocksThrottleReasons"))


class Gpus:
    """The NVIDIA GPUs of a machine, in NVML's order. Close it when none of them is used any more.

    Args:
        library: NVML, closed by `close`; None where there is none.
        gpus: Those that answer.
        reason: Why there are none, or not all; None if nothing is missing.

    Attributes:
        gpus: See above.
        reason: See above.
    """

    def __init__(self, library: NvmlLibrary | None, gpus: tuple[NvmlGpu, ...], reason: str | None) -> None:
        self._library = library
        self.gpus = gpus
        self.reason = reason

    def read_driver_version(self) -> str | None:
        """Return the version of NVIDIA's driver, for instance "550.54.15"; None if there is none."""
        if self._library is None:
            return None
        try:
            return str(self._library.read("the driver's version cannot be read", "nvmlSystemGetDriverVersion"))
        except DeviceError:
            return None

    def close(self) -> None:
        """Stop sampling and close NVML; a second call does nothing. Clocks that were locked stay locked."""
        for gpu in self.gpus:
            gpu.close()
        if self._library is not None:
            self._library.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def find_gpus(clock: Clock | None = None) -> Gpus:
    """Open NVML and return the GPUs that it shows; none, and the reason, where there is no NVIDIA driver.

    Args:
        clock: What tells the time of power samples; the machine's own without it.
    """
    try:
        library = NvmlLibrary()
    except DeviceError as error:
        return Gpus(None, (), str(error))
    gpus: list[NvmlGpu] = []
    problems: list[str] = []
    try:
        count = library.read("NVML cannot count the GPUs", "nvmlDeviceGetCount")
        for index in range(count):
            label = "gpu" if count == 1 else f"gpu{index}"
            try:
                handle = library.read(f"{label} cannot be used", "nvmlDeviceGetHandleByIndex", index)
            except DeviceError as error:
                problems.append(str(error))
            else:
                gpus.append(NvmlGpu(library, handle, label, clock or MonotonicClock()))
    except DeviceError as error:
        problems.append(str(error))
    except BaseException:
        library.close()
        raise
    if not gpus and not problems:
        problems.append("NVML shows no GPU")
    return Gpus(library, tuple(gpus), "; ".join(problems) or None)


def open_knob(key: str) -> NvmlKnob:
    """Return the knob that a journal calls `key`, to put back what another process has left behind. Close it.

    Raises:
        DeviceNotFound: If NVML works and knows no GPU of this uuid.
        ClockBusy: If the GPU does not answer.
        DeviceError: If the key is not of a GPU's lock, or there is no NVML.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        raise DeviceError(f"{key!r} is no knob of a GPU: it is called nvml/<uuid>/locked_clocks")
    uuid = match[1]
    library = NvmlLibrary()
    try:
        handle = library.find_gpu(uuid)
    except BaseException:
        library.close()
        raise
    return NvmlKnob(library, handle, uuid, alone=True)


def _read_or_none(reader: Callable[[], Reading] | None) -> Reading | None:
    try:
        return None if reader is None else reader()
    except DeviceError:
        return None
