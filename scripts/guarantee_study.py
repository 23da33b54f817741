"""Count how often certificates are broken over random splits of recorded traces; see docs/results.

    python scripts/guarantee_study.py --bundle fashion-resnet --traces traces.npz

The settings and the path that is tested are chosen on one split of the traces, "fit"; all others are the pool from
which samples are drawn to calibrate on. The network must not have been trained on any of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

import edgeexit
from edgeexit.errors import OptionError
from edgeexit.offline.calibrate import calibrate
from edgeexit.offline.fit import fit_predictor
from edgeexit.offline.guarantee.counts import join_traces
from edgeexit.offline.guarantee.paths import Bound, find_path
from edgeexit.offline.guarantee.study import StudyRow, pool_outcomes, study, study_text
from edgeexit.offline.traces import load_traces


def main() -> None:
    """Read the command line, run the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", required=True, help="name or path of the bundle whose work is counted")
    parser.add_argument("--traces", required=True, type=Path, help="npz with the splits")
    parser.add_argument("--choose-on", default="fit", help="split that settings are chosen on")
    parser.add_argument("--drop", type=float, nargs="+", default=[0.5, 1.0], help="bounds in points")
    parser.add_argument("--samples", type=int, nargs="+", default=[500, 2000, 5000], help="to calibrate on")
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--splits", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    traces, workload = load_traces(options.traces), edgeexit.load_bundle(options.bundle).workload
    if options.choose_on not in traces:
        raise OptionError(f"{options.traces} has no split {options.choose_on!r}; it has {', '.join(traces)}")
    chosen_on = traces.pop(options.choose_on)
    pool = join_traces(list(traces.values()))
    predictor = fit_predictor(chosen_on)
    rules = calibrate(chosen_on, workload, predictor)
    bounds = [Bound(drop, options.confidence, risk) for risk in ("labels", "full") for drop in options.drop]
    rows: list[StudyRow] = []
    for bound in tqdm(bounds, desc="bounds"):
        path = find_path(
            rules, predictor, chosen_on, workload, bound, test_samples=max(options.samples), least_hope=1.0
        )  # with settings that lose too much, so that the greedy picker may find them
        outcomes = pool_outcomes(path, pool, bound.risk)
        for samples in options.samples:
            rows += study(outcomes, bound, samples, splits=options.splits, seed=options.seed)
    print(f"{options.bundle}: {options.splits} splits of {len(pool):,} samples, confidence {options.confidence:g}")
    print(study_text(rows))


if __name__ == "__main__":
    main()
