import json

import numpy as np
import pytest
from tiny_bundle import network_input

from edgeexit.cli import main
from edgeexit.runtime.engine import open_session


def test_export_writes_a_file_and_says_what_is_in_it(tiny, tmp_path, capsys):
    out = tmp_path / "model.onnx"
    assert main(["export", str(tiny.path), "-o", str(out), "--exit-rule", "threshold"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "tiny with 2 If nodes" in lines[0]
    assert "a batch of 1" in lines[1]
    assert lines[3:] == [
        "  exit 0   answers if its largest probability is at least 0.9",
        "  exit 1   answers if its largest probability is at least 0.9",
        "  exit 2   answers in any case",
    ]
    label, exit_index = open_session(out.read_bytes()).run(["label", "exit_index"], {"image": network_input()[:1]})
    assert (label.tolist(), exit_index.tolist()) == ([0], [1])


def test_export_takes_the_setting_thresholds_by_default(tiny, tmp_path, capsys):
    assert main(["export", str(tiny.path), "-o", str(tmp_path / "m.onnx"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [look["least_confidence"] for look in document["looks"]] == [0.7, 0.7, None]
    assert document["bytes"] == (tmp_path / "m.onnx").stat().st_size
    assert document["batch"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--exit-rule", "predictive-exit"], "only rules that compare"),
        (["--exit-rule", "nonsense"], "no calibrated setting 'nonsense'"),
        (["--allowed-drop", "7"], "not calibrated for an accuracy drop of 7 points"),
    ],
)
def test_a_setting_that_cannot_be_exported_is_one_line(tiny, tmp_path, capsys, options, message):
    assert main(["export", str(tiny.path), "-o", str(tmp_path / "m.onnx"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_one_line(tiny, tmp_path, capsys):
    assert main(["export", str(tiny.path), "-o", str(tmp_path / "nowhere" / "m.onnx")]) == 1
    assert "nowhere/m.onnx: No such file or directory" in capsys.readouterr().err


def test_the_answers_are_those_of_run(tiny, batch, tmp_path, capsys):
    arguments = ["--exit-rule", "threshold", "--allowed-drop", "0.5"]
    assert main(["run", str(tiny.path), str(batch), "--json", "--device", "simulated:jetson-tx2", *arguments]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["export", str(tiny.path), "-o", str(tmp_path / "m.onnx"), *arguments]) == 0
    session = open_session((tmp_path / "m.onnx").read_bytes())
    for index, line in enumerate(said):
        image = np.load(batch)[index : index + 1]
        label, exit_index = session.run(["label", "exit_index"], {"image": image})
        assert (label[0], exit_index[0]) == (line["label"], line["exit_index"])
