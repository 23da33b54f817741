from dataclasses import replace

from edgeexit.offline.preparing.preparation import (
    AsGiven,
    Certified,
    ExitFigures,
    Place,
    Preparation,
    RuleFigures,
    Times,
    Worth,
)
from edgeexit.offline.preparing.text import preparation_text

PLACES = (
    Place(
        tensors=("relu0",),
        kind="vector",
        macs_share=0.25,
        boundary_bytes=2048,
        segment_s=0.0015,
        accuracy=0.8,
        refusal=None,
    ),
    Place(
        tensors=("a", "b"),
        kind="map_nchw",
        macs_share=0.5,
        boundary_bytes=512,
        accuracy=0.7,
        refusal="it loses too much",
    ),
)
FOUND = Preparation(
    model="net.onnx",
    macs=2_500_000,
    class_count=10,
    samples={"heads": 700, "certify": 1300},
    by_labels=True,
    found=7,
    places=PLACES,
    side_inputs=("mask",),
)


class AtAPlace:
    path = "my bundle"


DONE = replace(
    FOUND,
    bundle=AtAPlace(),
    exits=(ExitFigures(behind=("relu0",), macs_share=0.26, head_share=0.01, accuracy=0.8),),
    rules=(
        RuleFigures(setting="threshold", allowed_drop=0.0, accuracy=0.9, macs_share=0.5, looks=1.5),
        RuleFigures(setting="fixed", allowed_drop=0.0, accuracy=0.9, macs_share=1.0, looks=1.0),
        RuleFigures(setting="threshold", allowed_drop=0.5, accuracy=0.895, macs_share=0.4, looks=1.25),
    ),
    reported="threshold",
    allowed_drop=0.5,
    certified=Certified(text="none"),
    compression=("prune: undone, it is not faster",),
    times=Times(whole_s=0.004, exits_s=0.002, samples=100),
    notes=("look at the labels",),
    worth=Worth(yes=True, because="it needs 40% of the work"),
)


def test_a_dry_run_shows_places_alone():
    assert preparation_text(replace(FOUND, places=FOUND.places[:1])).splitlines() == [
        "model    net.onnx: 2.50 M MACs, 10 classes",
        "samples  2,000: heads 700, certify 1,300",
        "right    means as labelled",
        "every segment reads mask",
        "",
        "7 places to cut at, 1 tried",
        "work so far      bytes      time  accuracy  tensor",
        "      25.0%      2,048    1.5 ms    80.00%  relu0 (vector)",
    ]


def test_columns_that_hold_nothing_are_left_out():
    bare = tuple(replace(place, segment_s=None, accuracy=None, refusal="") for place in PLACES)
    assert preparation_text(replace(FOUND, places=bare)).splitlines()[-3:] == [
        "work so far      bytes  tensor",
        "      25.0%      2,048  relu0 (vector)",
        "      50.0%        512  a + b (map_nchw)",
    ]


def test_the_report_says_all_that_was_found():
    assert preparation_text(DONE).splitlines()[5:] == [
        "",
        "7 places to cut at, 2 tried, 1 kept",
        "work so far      bytes      time  accuracy  tensor",
        "      25.0%      2,048    1.5 ms    80.00%  relu0 (vector)",
        "      50.0%        512              70.00%  a + b (map_nchw): no exit, it loses too much",
        "",
        'Exits; accuracy is that on the 1,300 samples of "certify", on which nothing was chosen',
        "exit  work so far    head  accuracy  behind",
        "   0        26.0%   1.00%    80.00%  relu0",
        "",
        "Exit settings on the same samples",
        "allowed drop  accuracy    work  exits seen  setting",
        "    0 points    90.00%   50.0%        1.50  threshold",
        "                90.00%  100.0%        1.00  fixed",
        "  0.5 points    89.50%   40.0%        1.25  threshold",
        "",
        "Certificate: none",
        "",
        "Compression:",
        "  prune: undone, it is not faster",
        "",
        "Time on this machine, one thread, 100 samples: 4 ms for the model in one piece, 2 ms with exits (50%)",
        "Note: look at the labels",
        "",
        "Early exit is worth it for this model because it needs 40% of the work.",
        "Use it with: edgeexit run 'my bundle' --exit-rule threshold --allowed-drop 0.5 FILE...",
    ]


def test_a_compressed_network_is_called_so_and_compared_with_the_model_as_it_was_given():
    lines = preparation_text(replace(DONE, quantised=True, as_given=AsGiven(given=0.91, full=0.9, setting=0.895)))
    assert (
        "Accuracy on the same samples: the model as you gave it 91.00%, the full network (compressed) 90.00%, setting "
        "'threshold' 89.50%"
    ) in lines.splitlines()


def test_agreement_with_a_pruned_network_is_told_with_that_with_the_model_as_it_was_given():
    figures = AsGiven(given=None, full=0.99, setting=0.98)
    lines = preparation_text(replace(DONE, by_labels=False, steps=("prune",), as_given=figures)).splitlines()
    assert "right    means as the full network (compressed) says" in lines
    assert (
        "Agreement with the model as you gave it, on the same samples: the full network (compressed) 99.00%, setting "
        "'threshold' 98.00%"
    ) in lines


def test_int8_segments_alone_leave_what_is_right_to_the_network_as_it_was_given():
    lines = preparation_text(replace(DONE, by_labels=False, quantised=True)).splitlines()
    assert "right    means as the full network says" in lines


def test_what_is_not_worth_it_is_not_recommended():
    done = replace(DONE, worth=Worth(yes=False, because="it still needs 99% of the work"))
    assert preparation_text(done).splitlines()[-2:] == [
        "Early exit is not worth it for this model because it still needs 99% of the work.",
        "The bundle was made all the same, for trying its settings out.",
    ]
