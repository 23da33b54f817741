"""One line on standard error, and an exit code that means something."""

import contextlib
import logging
import os
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import network_input

from edgeexit import cli
from edgeexit.cli import main
from edgeexit.errors import ClockNotWritable, EngineError, GraphError, MissingExtra, PluginNotFound
from edgeexit.testing.fake_sysfs import FakeTree


def error_line(capsys):
    """What a user sees: one line on standard error, nothing on standard output."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("edgeexit: error: ")
    return captured.err


def run(bundle, *arguments):
    return main(["run", str(bundle.path), *map(str, arguments), "--device", "host"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nosuch"], "nosuch"),
        (["info"], "BUNDLE"),
        (["info", "--nosuch", "x"], "--nosuch"),
        (["run", "x"], "INPUT"),
        (["run", "x", "y", "--threads", "0"], "--threads"),
        (["run", "x", "y", "--deadline-ms", "0"], "--deadline-ms"),
        (["run", "x", "y", "--governor-option", "frequency_hz"], "KEY=VALUE"),
        (["run", "x", "y", "--governor-option", "=1"], "KEY=VALUE"),
        (["run", "x", "y", "--governor-option", "a=1", "--governor-option", "a=2"], "a is given twice"),
        (["demo", "--allowed-drop", "-1"], "--allowed-drop"),
        (["demo", "--work-scale", "many"], "--work-scale"),
        (["demo", "--work-scale", "-1"], "--work-scale"),
        (["demo", "--work-scale", "nan"], "--work-scale"),
        (["demo", "--images", "0"], "--images"),
        (["demo", "--png", "x.png", "--no-png"], "--no-png"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_2(arguments, says, capsys):
    assert main(arguments) == 2
    assert says in error_line(capsys)


@pytest.mark.parametrize(
    "arguments", [["info", "./nosuch"], ["run", "./nosuch", "x.npy"], ["demo", "--bundle", "./nosuch"]], ids=" ".join
)
def test_a_bundle_that_is_not_there_is_4(arguments, capsys):
    assert main(arguments) == 4
    assert "nosuch" in error_line(capsys)


@pytest.mark.parametrize("file", ["manifest.json", "segment1.onnx", "head0.onnx", "rules.json"])
@pytest.mark.parametrize("damage", ["truncated", "a byte changed", "removed"])
def test_a_damaged_bundle_is_4_and_the_file_is_named(tiny, tmp_path, file, damage, capsys):
    shutil.copytree(tiny.path, tmp_path / "tiny")
    path = tmp_path / "tiny" / file
    data = bytearray(path.read_bytes())
    if damage == "removed":
        path.unlink()
    else:
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data if damage != "truncated" else data[: len(data) // 2])
    assert main(["info", str(tmp_path / "tiny")]) == 4
    if (file, damage) != ("manifest.json", "removed"):
        assert file in error_line(capsys)


def test_a_missing_input_file_is_3(tiny, tmp_path, capsys):
    assert run(tiny, tmp_path / "nosuch.npy") == 3
    assert "nosuch.npy does not exist" in error_line(capsys)


def test_a_folder_as_input_is_3(tiny, tmp_path, capsys):
    assert run(tiny, tmp_path) == 3
    assert "is not a file" in error_line(capsys)


def test_a_wrong_shape_is_3_and_file_and_sample_are_named(tiny, tmp_path, capsys):
    np.save(tmp_path / "wide.npy", np.zeros((1, 1, 2, 3), np.float32))
    assert run(tiny, tmp_path / "wide.npy") == 3
    assert "wide.npy[0]: input 'image' must have the shape (N, 1, 2, 2), not (1, 1, 2, 3)" in error_line(capsys)


def test_a_nan_image_is_3_and_file_and_sample_are_named(tiny, tmp_path, capsys):
    np.save(tmp_path / "nan.npy", np.full((1, 1, 2, 2), np.nan, np.float32))
    assert run(tiny, tmp_path / "nan.npy") == 3
    assert "nan.npy[0]: input 'image' holds values that are not finite" in error_line(capsys)


def test_an_empty_batch_is_3(tiny, tmp_path, capsys):
    np.save(tmp_path / "empty.npy", network_input()[:0])
    assert run(tiny, tmp_path / "empty.npy") == 3
    assert "empty.npy holds an empty batch" in error_line(capsys)


def test_a_truncated_png_is_3(tiny, tmp_path, capsys):
    path = tmp_path / "half.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    assert run(tiny, path) == 3
    assert "half.png cannot be read as an image" in error_line(capsys)


def test_an_unknown_device_is_5(tiny, batch, capsys):
    assert main(["run", str(tiny.path), str(batch), "--device", "simulated:nosuch"]) == 5
    assert "nosuch" in error_line(capsys)


def test_an_unknown_board_is_5(tiny, demo_data, capsys):
    assert main(["demo", "--bundle", str(tiny.path), "--data", str(demo_data), "--board", "nosuch"]) == 5
    assert "nosuch" in error_line(capsys)


@pytest.mark.parametrize("option", ["--governor", "--exit-rule"])
def test_an_unknown_governor_or_exit_rule_is_2(tiny, batch, option, capsys):
    assert run(tiny, batch, option, "nosuch") == 2
    assert "nosuch" in error_line(capsys)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("nosuch=1", "governor 'fixed' does not know the option nosuch; it knows frequency_hz"),
        ("frequency_hz=fast", "'fast'"),
        ("frequency_hz=1.5", "1.5"),
        (None, "governor 'fixed' needs the option frequency_hz"),
    ],
)
def test_a_governor_option_that_does_not_fit_is_2(tiny, batch, option, says, capsys):
    arguments = ["--governor", "fixed"] + ([] if option is None else ["--governor-option", option])
    assert run(tiny, batch, *arguments) == 2
    assert says in error_line(capsys)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EngineError("ONNX Runtime says:\n  no"), 1),
        (MissingExtra("no Pillow"), 1),
        (GraphError("open cut"), 3),
        (PluginNotFound("no rule"), 2),
        (ClockNotWritable("locked"), 5),
        (PermissionError(13, "Permission denied", "out.png"), 1),
        (ZeroDivisionError("bug"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_kind_of_error_has_its_code_and_takes_one_line(monkeypatch, error, code, capsys):
    def fail(_arguments):
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    assert main([]) == code
    line = error_line(capsys)
    assert str(error.args[-1]).split()[-1] in line
    assert ("should not happen" in line) == isinstance(error, ZeroDivisionError)


def test_an_interrupt_is_130(monkeypatch, capsys):
    def interrupt(_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupt)
    assert main([]) == 130
    assert capsys.readouterr().err == "edgeexit: interrupted\n"


def test_debug_shows_the_traceback_and_then_the_line(monkeypatch, capsys):
    monkeypatch.setenv("DEBUG", "1")
    assert main(["info", "./nosuch"]) == 4
    text = capsys.readouterr().err
    assert "Traceback (most recent call last)" in text
    assert text.splitlines()[-1].startswith("edgeexit: error: ")


@pytest.mark.parametrize("value", ["", "0"])
def test_debug_set_to_nothing_or_0_shows_no_traceback(monkeypatch, value, capsys):
    monkeypatch.setenv("DEBUG", value)
    assert main(["info", "./nosuch"]) == 4
    error_line(capsys)


def test_a_warning_takes_one_line(tiny, batch, capsys, monkeypatch):
    monkeypatch.setattr("edgeexit.device.host.Tree", FakeTree)  # a machine without clocks
    assert main(["run", str(tiny.path), str(batch)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("edgeexit: warning: this machine shows no clock that could be set")


def test_a_machine_taken_for_a_board_that_it_is_not_gives_one_line(tiny, batch, capsys, monkeypatch):
    monkeypatch.setattr("edgeexit.device.sysfs.Tree", FakeTree)
    assert main(["run", str(tiny.path), str(batch), "--device", "jetson-tx2"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edgeexit: warning: the profile 'jetson-tx2' is asked for, but this machine does not say")


def test_what_the_library_logs_takes_one_line(monkeypatch, capsys):
    def log(_arguments):
        logging.getLogger("edgeexit.runtime").warning("two\nlines of %s", "text")
        logging.getLogger("edgeexit.runtime").info("too much")
        return 0

    monkeypatch.setattr(cli, "_run", log)
    assert main([]) == 0
    assert capsys.readouterr().err == "edgeexit: warning: two lines of text\n"


def test_warnings_and_logging_are_left_as_they_were():
    shown, handlers = warnings.showwarning, list(logging.getLogger("edgeexit").handlers)
    main(["--version"])
    assert warnings.showwarning is shown
    assert logging.getLogger("edgeexit").handlers == handlers


@pytest.fixture
def unread_error(monkeypatch):
    """Standard error is a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", buffering=1)
    monkeypatch.setattr("sys.stderr", stream)
    yield
    with contextlib.suppress(OSError):
        stream.close()


@pytest.mark.usefixtures("unread_error")
def test_an_error_that_nobody_reads_still_ends_in_its_exit_code():
    assert main(["run", "x", "y", "--threads", "0"]) == 2


@pytest.mark.usefixtures("unread_error")
@pytest.mark.parametrize("tell", [logging.getLogger("edgeexit.device").warning, warnings.warn])
def test_a_warning_that_nobody_reads_stops_nothing(monkeypatch, tell):
    monkeypatch.setattr("edgeexit.cli._run", lambda _arguments: tell("something is the matter"))
    assert main(["doctor"]) is None


def test_without_standard_output_a_command_ends_in_its_exit_code(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    assert main(["--version"]) == 0
