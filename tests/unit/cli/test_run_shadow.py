import json

import pytest

from edgeexit.cli import main

BOARD = ["--device", "simulated:jetson-tx2", "--exit-rule", "threshold"]


def test_shadow_says_in_the_end_how_often_the_full_network_agrees(tiny, batch, capsys):
    """Six white pixels of nine exit early, and the full network says the same."""
    assert main(["run", str(tiny.path), str(batch), *BOARD, "--shadow", "1"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("shadow: 6 of 6 samples that exited early were run to the end; ")
    assert "agrees with 6 of them, 100.0% (95 % interval 54.1% to 100.0%), in calibration not known" in last
    assert last.endswith("mJ (simulated)")


def test_shadow_is_the_last_json_object(tiny, batch, capsys):
    assert main(["run", str(tiny.path), str(batch), *BOARD, "--shadow", "1", "--json"]) == 0
    *samples, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(samples) == 9
    assert (last["shadow"]["checked"], last["shadow"]["agreed"], last["shadow"]["drift"]) == (6, 6, False)


def test_without_the_option_nothing_is_said(tiny, batch, capsys):
    assert main(["run", str(tiny.path), str(batch), *BOARD]) == 0
    assert "shadow" not in capsys.readouterr().out


def test_at_a_frame_rate_shadow_runs_make_no_frame_late(tiny, batch, capsys):
    arguments = ["run", str(tiny.path), str(batch), *BOARD, "--json", "--frame-rate", "30"]
    assert main(arguments) == 0
    plain = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main([*arguments, "--shadow", "1"]) == 0
    *samples, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert [sample["latency_s"] for sample in samples] == pytest.approx([sample["latency_s"] for sample in plain])
    assert all(sample["deadline_met"] for sample in samples)
    assert last["shadow"]["checked"] == 6


@pytest.mark.parametrize("share", ["0", "1.5", "nan", "many"])
def test_a_share_out_of_range_is_wrong_usage(tiny, batch, capsys, share):
    assert main(["run", str(tiny.path), str(batch), "--shadow", share]) == 2
    assert "--shadow" in capsys.readouterr().err
