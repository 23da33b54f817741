import json

import pytest
from tiny_bundle import RULES, make_bundle

from edgeexit.cli import main


def test_json_tells_work_tensors_and_settings(tiny, capsys):
    assert main(["info", str(tiny.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "tiny"
    assert found["digest"] == tiny.digest
    assert found["labels"] == ["first", "second", "third"]
    assert found["macs"] == 3 * 16 + 12
    assert [segment["macs"] for segment in found["segments"]] == [16, 16, 16 + 12]
    assert [exit_["macs"] for exit_ in found["exits"]] == [12, 12, 0]
    assert [exit_["head_share"] for exit_ in found["exits"]] == [0.75, 0.75, 0.0]
    assert [exit_["cumulative_share"] for exit_ in found["exits"]] == pytest.approx([28 / 60, 44 / 60, 1.0])
    assert found["segments"][0]["outputs"] == [{"name": "body0", "dtype": "float32", "shape": ["N", 4], "bytes": 16}]
    assert found["bytes"] == sum(path.stat().st_size for path in tiny.path.iterdir() if path.name != "manifest.json")
    assert found["rules"]["recommended"] == "threshold"
    assert found["rules"]["settings"]["thresholds"] == {
        "rule": "threshold", "allowed_drops": [0.0, 0.5], "missed_drops": [],
    }  # fmt: skip


def test_drops_that_a_setting_cannot_keep_are_told(tmp_path, capsys):
    rules = json.loads(json.dumps(RULES))
    rules["settings"]["threshold"]["chosen_on"] = {"0": {"missed": True}, "0.5": {}}
    assert main(["info", str(make_bundle(tmp_path, rules=rules).path)]) == 0
    assert "\n  threshold: 0, 0.5 (loses more than 0)\n" in capsys.readouterr().out


def test_text_tells_the_same(tiny, capsys):
    assert main(["info", str(tiny.path)]) == 0
    text = capsys.readouterr().out
    for part in (
        "tiny (edgeexit ",
        tiny.digest,
        "image float32 (N, 1, 2, 2) 16 B",
        "L, 2 x 2, NCHW",
        "classes     3: first, second, third",
        "whole net   60 MACs",
        "exit settings (recommended: threshold)",
        "thresholds (rule threshold): 0, 0.5",
    ):
        assert part in text
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("   ") and "." in line][:3] == [
        "46.7",
        "73.3",
        "100.0",
    ]


def test_a_bundle_that_is_not_calibrated_can_be_described(tmp_path, capsys):
    bundle = make_bundle(tmp_path, rules=None, preprocess=False)
    assert main(["info", str(bundle.path)]) == 0
    text = capsys.readouterr().out
    assert "exit settings: none" in text
    assert "cannot be read: the bundle does not say" in text
