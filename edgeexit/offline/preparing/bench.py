"""What every step of a preparation works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeexit.offline.preparing.options import SHARES, PrepareOptions
from edgeexit.offline.preparing.work_folder import WorkFolder, step_key

if TYPE_CHECKING:
    from edgeexit.offline.preparing.sources import Material


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every step works with.

    Attributes:
        material: The samples.
        options: What the user asked for.
        work: Where results are kept.
        progress: True for progress bars on stderr.
        tell: Called with what the user should know at once, in one line.
    """

    material: Material
    options: PrepareOptions
    work: WorkFolder
    progress: bool
    tell: Callable[[str], None]

    def key(self, *made_from: object) -> str:
        """Return the key of a step that depends on the samples and on how they are divided."""
        material = self.material
        return step_key(
            material.samples.sha256, len(material.samples), str(material.samples.preprocess), material.task,
            self.options.seed, SHARES, *made_from,
        )  # fmt: skip
