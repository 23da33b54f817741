"""What calibration writes down for shadow runs: how often the samples that exit early agree with the full network."""

from __future__ import annotations

from edgeexit.offline.replay import Replay
from edgeexit.offline.traces import Trace


def early_agreement(run: Replay, trace: Trace) -> dict[str, int]:
    """Return what goes into a setting's "chosen_on", beside "samples" and "macs_share".

    A session with `shadow` compares live samples with it (`edgeexit.runtime.settings` reads it).

    Args:
        run: What the setting's rule did with the samples of the trace.
        trace: The samples; their last exit is the full network.

    Returns:
        "exited": how many samples were answered before the last exit. "agreed": for how many of these the full
        network says the same.
    """
    exited = run.exit_index < trace.exit_count - 1
    agreed = exited & (run.label == trace.label[:, -1])
    return {"exited": int(exited.sum()), "agreed": int(agreed.sum())}
