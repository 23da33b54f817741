import numpy as np
import pytest
from tiny_bundle import images, make_bundle, network_input


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A small calibrated bundle; nobody may change it."""
    return make_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def batch(tmp_path):
    """A file with nine samples."""
    np.save(tmp_path / "batch.npy", network_input())
    return tmp_path / "batch.npy"


@pytest.fixture
def demo_data(tmp_path):
    """A file with nine images and their labels."""
    pixels, labels = images()
    np.savez(tmp_path / "demo.npz", images=pixels, labels=labels)
    return tmp_path / "demo.npz"
