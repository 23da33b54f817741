"""A guardian that outlasts a hold: it gives the clocks back if clockd is killed, whoever held them then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeexit.device.guardian import Guardian

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


class LastingGuardian(Guardian):
    """A guardian that stays from one hold to the next: starting one takes a slow board a third of a second."""

    @property
    def watches(self) -> bool:
        """True while it runs."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """Go on watching: there is nothing to put back now, and there may be again."""

    def end(self) -> None:
        """End it."""
        super().close()


class Watch:
    """Starts a guardian when one is needed for the first time, and ends it with the with statement.

    Args:
        folder: The journal's.
        root: Root of the machine's files.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder, self._root = folder, root
        self._guardian: LastingGuardian | None = None

    def __call__(self) -> Guardian:
        """Return a guardian that runs; if somebody has ended the one before, another."""
        if self._guardian is None or not self._guardian.watches:
            self._guardian = LastingGuardian(self._folder, self._root)
        return self._guardian

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._guardian is not None:
            self._guardian.end()
