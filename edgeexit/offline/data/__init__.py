"""A user's samples: from files to batches that a model takes, with labels, in parts that never overlap.

* `loading`: `load_samples`, from an archive, an array or a folder; `folders`: what lies in a folder, `label_table`:
  labels from CSV; `labels`: labels as numbers, and whether they fit a model; `preprocess`: preprocess.json;
* `samples`: `Samples`, which reads what is asked for and no more; `sources`: where it reads from, `rows`: arrays on
  disk, row by row;
* `splitting`: parts that are disjoint, and the check that they are.
"""

from __future__ import annotations

from edgeexit.offline.data.labels import check_labels
from edgeexit.offline.data.loading import load_samples
from edgeexit.offline.data.preprocess import load_preprocess
from edgeexit.offline.data.samples import Samples, samples_of_arrays
from edgeexit.offline.data.splitting import check_disjoint, limit_samples, split_samples

__all__ = [
    "Samples",
    "check_disjoint",
    "check_labels",
    "limit_samples",
    "load_preprocess",
    "load_samples",
    "samples_of_arrays",
    "split_samples",
]
