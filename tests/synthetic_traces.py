"""Made-up traces: each exit sees the right class through less noise than the exit before, and says so in its logits."""

import numpy as np

from edgeexit.offline.traces import Trace
from edgeexit.protocols import Workload


def make_trace(samples=600, exits=4, classes=5, seed=0):
    """Return a trace whose deeper exits are better, on easy and on hard samples."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, samples)
    hardness = generator.gamma(2.0, 0.8, (samples, 1, 1))
    noise = generator.normal(size=(samples, exits, classes)) * hardness
    signal = np.eye(classes)[labels][:, np.newaxis] * np.linspace(2.5, 6.0, exits)[:, np.newaxis]
    return Trace(
        (signal + np.cumsum(noise, axis=1) / np.arange(1, exits + 1)[:, np.newaxis]).astype(np.float32), labels
    )


def make_workload(exits=4, segment_macs=1000, head_macs=200):
    """Return segments of equal size with equal heads; the last exit's head is free, as in the reference networks."""
    heads = (*[head_macs] * (exits - 1), 0)
    return Workload((segment_macs,) * exits, heads, tuple(range(exits)))
