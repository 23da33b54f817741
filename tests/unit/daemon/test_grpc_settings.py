"""gRPC in the daemon's configuration."""

import sys

import pytest

from edgeexit.daemon.config_sources import read_config
from edgeexit.daemon.serving import check
from edgeexit.errors import MissingExtra, OptionError


def told(**flags):
    return read_config(flags=[("bundles", "BUNDLE", ["fashion-resnet"]), *((key, key, flags[key]) for key in flags)])


def test_there_is_none_unless_it_is_asked_for():
    config = told().config
    assert (config.grpc_port, config.grpc_unix) == (None, None)


def test_port_and_path_can_be_given():
    config = told(grpc_port="8001", grpc_unix="/run/edgeexit/grpc.sock").config
    assert (config.grpc_port, str(config.grpc_unix)) == (8001, "/run/edgeexit/grpc.sock")


def test_a_relative_path_in_a_file_counts_from_its_folder(tmp_path):
    file = tmp_path / "serve.toml"
    file.write_text('grpc_unix = "grpc.sock"')
    assert read_config(file=file).config.grpc_unix == tmp_path / "grpc.sock"


def test_a_port_without_tcp_is_refused():
    with pytest.raises(OptionError, match="leave out --no-tcp, or give --grpc-unix"):
        check(told(grpc_port="0", tcp=False, unix="/tmp/s"))


def test_without_its_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    assert check(told())
    with pytest.raises(MissingExtra, match=r"pip install 'edgeexit\[serve,grpc\]'"):
        check(told(grpc_unix="/tmp/s"))
