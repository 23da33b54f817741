"""A bundle of two exits to load, to damage and to write again."""

import shutil

import pytest
from graphs import residual_net, saved

from edgeexit.offline.graph.split import split_model


@pytest.fixture(scope="session")
def sound_bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    return split_model(saved(folder, residual_net()), folder / "net", name="net", labels=["a", "b", "c"])


@pytest.fixture
def folder(sound_bundle, tmp_path):
    """A copy of the bundle's folder that a test may change."""
    return shutil.copytree(sound_bundle.path, tmp_path / "net")
