"""Samples that a bundle's heads were made from are known again, and left out where a certificate is wanted."""

import json

import numpy as np
import pytest
from tiny_bundle import make_bundle

from edgeexit.bundle.write import replace_files
from edgeexit.errors import BundleError, DataError
from edgeexit.offline.data import samples_of_arrays
from edgeexit.offline.guarantee.recalibrate import CalibrateOptions, recalibrate
from edgeexit.offline.known_samples import FILE, known_samples_file, new_samples


def some_samples(count=500, labels=True):
    values = np.random.default_rng(0).random((count, 1, 2, 2), dtype=np.float32)
    return samples_of_arrays({"image": values}, values.reshape(count, 4)[:, :3].argmax(axis=1) if labels else None)


@pytest.fixture
def bundle(tmp_path):
    """A bundle whose heads were made from the first three samples."""
    known = known_samples_file([some_samples().take(np.array([0, 1])), some_samples().take(np.array([2]))])
    return replace_files(make_bundle(tmp_path), {FILE: known})


def test_a_sample_is_known_whatever_its_label_and_its_place(bundle):
    shuffled = some_samples(labels=False).take(np.array([7, 2, 5, 0]))
    assert new_samples(bundle, shuffled).tolist() == [0, 2]


def test_a_bundle_that_does_not_say_what_it_was_made_from_knows_no_sample(tmp_path):
    assert new_samples(make_bundle(tmp_path), some_samples(4)).tolist() == [0, 1, 2, 3]


def test_a_hash_takes_eight_digits(bundle):
    document = json.loads(bundle.read_file(FILE))
    assert document["format"] == 1
    assert document["digests"] == "".join(sorted(digest.hex()[:8] for digest in some_samples(3).digests))


@pytest.mark.parametrize("damaged", [{"format": 2, "digests": ""}, {"format": 1, "digests": "123"}, {"format": 1}])
def test_what_cannot_be_read_is_refused(bundle, damaged):
    other = replace_files(bundle, {FILE: json.dumps(damaged).encode()})
    with pytest.raises(BundleError, match=FILE):
        new_samples(other, some_samples(4))


def test_known_samples_are_left_out_of_a_calibration_and_that_is_told(bundle, monkeypatch):
    seen, told = [], []
    monkeypatch.setattr("edgeexit.offline.guarantee.recalibrate.split_samples", _stop_at(seen))
    with pytest.raises(InterruptedError):
        recalibrate(bundle, some_samples(), CalibrateOptions(), tell=told.append)
    assert seen[0].positions.tolist() == list(range(3, 500))
    assert told == [
        "3 of the 500 samples are left out: the bundle's heads and exits were made from them, so they would look "
        "better than they are"
    ]


def test_a_calibration_on_nothing_but_known_samples_is_refused(bundle):
    with pytest.raises(DataError, match=r"were made from all of these 3 samples, .*: give others"):
        recalibrate(bundle, some_samples().take(np.arange(3)), CalibrateOptions())


def _stop_at(seen):
    def stop(samples, *_, **__):
        seen.append(samples)
        raise InterruptedError

    return stop
