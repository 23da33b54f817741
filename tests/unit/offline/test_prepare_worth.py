import pytest

from edgeexit.offline.preparing.preparation import Certified, RuleFigures, Times
from edgeexit.offline.preparing.worth import judge_worth

NO_CERTIFICATE = Certified(text="none")


def figures(setting="thresholds", accuracy=0.9, macs_share=0.4, loss_error=None):
    return RuleFigures(
        setting=setting, allowed_drop=0.5, accuracy=accuracy, macs_share=macs_share, looks=2.0, loss_error=loss_error
    )


def judge(*rules, accuracy=0.9, **more):
    return judge_worth(rules, accuracy, 0.5, **{"certified": NO_CERTIFICATE, **more})


def test_without_an_exit_it_is_not_worth_it():
    worth = judge(figures("fixed", macs_share=1.0))
    assert worth.sentence == (
        "Early exit is not worth it for this model because no exit before its end saves more than it costs."
    )


def test_work_saved_at_no_loss_is_worth_it():
    worth = judge(figures(accuracy=0.8975))
    assert worth.sentence == (
        "Early exit is worth it for this model because it needs 40% of the work, "
        "at a loss of 0.25 points of accuracy (not certified)."
    )


def test_a_certificate_gives_its_bound_and_its_setting_s_work():
    certified = Certified(text="yes", setting="thresholds", max_drop=0.5, macs_share=0.55)
    times = Times(whole_s=0.010, exits_s=0.006, samples=100)
    assert judge(figures(), certified=certified, times=times).because == (
        "it needs 55% of the work and 60% of the time on this machine, at most 0.5 points lost by certificate"
    )


def test_work_without_time_saved_is_not_worth_it():
    worth = judge(figures(), times=Times(whole_s=0.001, exits_s=0.00096, samples=100))
    assert worth.sentence == (
        "Early exit is not worth it for this model because on this machine an inference takes 0.96 ms with exits and "
        "1 ms without, although it does 40% of the work."
    )


def test_where_work_is_saved_and_time_is_not_the_user_is_told_what_to_try():
    worth = judge(figures(), times=Times(whole_s=0.001, exits_s=0.002, samples=100), faster="--exits 2 or --cost time")
    assert worth.because.endswith("although it does 40% of the work; try --exits 2 or --cost time")


def test_hardly_any_work_saved_is_not_worth_it():
    assert judge(figures(macs_share=0.96)).because == "it still needs 96% of the work, its exits' heads included"


def test_one_exit_for_all_is_recommended_where_it_does_as_well():
    worth = judge(figures(macs_share=0.4), figures("fixed", macs_share=0.4))
    assert not worth.yes
    assert worth.because == (
        "one exit for all samples keeps the accuracy with 40% of the work, and choosing among exits needs 40%: "
        "use the network cut there"
    )


@pytest.mark.parametrize("single", [{"macs_share": 0.5}, {"macs_share": 0.3, "accuracy": 0.88}])
def test_one_exit_that_costs_more_or_loses_too_much_is_no_argument(single):
    assert judge(figures(), figures("fixed", **single)).yes


@pytest.mark.parametrize(
    ("accuracy", "loss_error", "yes"),
    [
        (0.8930, None, True),  # 0.70 points lost, at most 0.5 + 0.25
        (0.8920, None, False),
        (0.8915, 0.002, True),  # 0.85 points lost, at most 0.5 + 2 * 0.2
        (0.8905, 0.002, False),
        (0.8817, 0.012, False),  # 1.83 points lost; few samples excuse no more than the drop again
    ],
)
def test_no_more_may_be_lost_than_allowed_but_for_the_noise_of_the_samples(accuracy, loss_error, yes):
    assert judge(figures(accuracy=accuracy, loss_error=loss_error)).yes is yes


def test_a_loss_within_the_noise_is_called_that():
    assert judge(figures(accuracy=0.892, loss_error=0.002)).because == (
        "it needs 40% of the work, at a loss of 0.80 points of accuracy (not certified; with so few samples no sure "
        "sign of more than the 0.5 allowed)"
    )


def test_far_more_lost_than_allowed_is_not_worth_it():
    worth = judge(figures(accuracy=0.875), by_labels=False)
    assert not worth.yes
    assert worth.because == (
        "on samples that nothing was chosen on it costs 2.50 points of agreement with the full network, "
        "and 0.5 were allowed"
    )
