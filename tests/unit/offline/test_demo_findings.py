import numpy as np

from edgeexit.offline import demo_findings
from edgeexit.offline.demo_report import PolicyResult


def row(setting, governor, millijoules, *, accuracy=0.92, late=0.0, bound=False):
    return PolicyResult(
        setting=setting,
        governor=governor,
        clocks_hz={"gpu": 726_750_000} if governor == "fixed" else None,
        is_bound=bound,
        accuracy=accuracy,
        mean_exit=1.0,
        exits_looked_at=1.0,
        macs_share=0.5,
        simulated_latency_s=0.01,
        missed_share=late,
        simulated_energy_j=millijoules / 1e3,
        relative_energy=1.0,
        exit_counts=(1, 1),
    )


def findings(rows, spread=None):
    """With the same energy for every image, or `spread` added to the last row's."""
    energies_j = {(each.setting, each.governor): np.full(4, each.simulated_energy_j) for each in rows}
    if spread is not None:
        energies_j[rows[-1].setting, rows[-1].governor] += spread
    return demo_findings.findings(rows, energies_j)


WHOLE = row("last", "stock", 1300.0), row("last", "fixed", 980.0)
CLOCKS = (
    row("threshold", "stock", 950.0),
    row("threshold", "performance", 900.0),
    row("threshold", "fixed", 600.0),
    row("threshold", "plan", 602.0),
)


def test_early_exit_is_compared_with_the_full_network_at_its_best_clock():
    (text,) = findings((*WHOLE, row("threshold", "fixed", 490.0)))
    assert text == (
        'Early exit pays here: "threshold" with fixed 726.75 MHz draws 490 mJ of simulated energy for each image, the '
        "full network at its best clock choice (fixed 726.75 MHz) 980 mJ, 50% less; accuracy 92.0% against 92.0%."
    )


def test_early_exit_that_costs_energy_does_not_pay():
    (text,) = findings((*WHOLE, row("threshold", "fixed", 1078.0)))
    assert "Early exit does not pay here" in text
    assert "10% more" in text


def test_energy_below_one_percent_is_no_difference():
    (text,) = findings((*WHOLE, row("threshold", "fixed", 975.0)))
    assert "Early exit does not pay here" in text
    assert "about the same" in text


def test_a_difference_that_may_be_chance_is_not_called_a_gain():
    # 980 less 882 J/1000 is .098; a spread of +-.1 has the standard error .1 * (4/3)**.5 / 2 = .0577, twice that .115.
    rows = (*WHOLE, row("threshold", "fixed", 882.0))
    (text,) = findings(rows, spread=np.array([0.1, -0.1, 0.1, -0.1]))
    assert "Early exit may pay here, but these images are too few to be sure" in text
    # Of +-.08 twice the standard error is .092.
    (text,) = findings(rows, spread=np.array([0.08, -0.08, 0.08, -0.08]))
    assert "Early exit pays here" in text


def test_what_is_late_does_not_count_as_less():
    (text,) = findings((*WHOLE, row("threshold", "fixed", 490.0, late=0.1)))
    assert "Early exit does not pay here, because its answers can be late" in text
    assert "10.0% of its answers are late" in text


def test_lost_accuracy_is_named_as_the_price():
    (text,) = findings((*WHOLE, row("threshold", "fixed", 490.0, accuracy=0.9)))
    assert "Early exit saves energy here, at the price of 2.0 points of accuracy" in text


def test_a_small_loss_of_accuracy_is_named_as_a_condition():
    (text,) = findings((*WHOLE, row("threshold", "fixed", 490.0, accuracy=0.916)))
    assert "Early exit pays here if the 0.4 points of accuracy that it loses on these images are chance" in text


def test_a_policy_that_keeps_the_accuracy_is_preferred_to_one_that_draws_less():
    cheap, good = row("threshold", "fixed", 100.0, accuracy=0.7), row("thresholds", "plan", 490.0)
    text = findings((*WHOLE, cheap, good))[0]
    assert '"per-exit thresholds" with plan draws 490 mJ' in text


def test_choosing_the_clock_is_judged_with_the_same_exits():
    text = findings((*WHOLE, *CLOCKS))[1]
    assert text == (
        'Choosing the clock pays here: with the same exits ("threshold") it takes 900 mJ of simulated energy at the '
        "highest clock (race to idle), 950 mJ with the stock governor and 600 mJ at the best fixed clock. With a clock "
        "chosen before each piece of work it takes 602 mJ: changing it on the way does not pay, one clock chosen once "
        "is enough."
    )


def test_changing_the_clock_on_the_way_is_judged_against_the_best_fixed_clock():
    text = findings((*WHOLE, *CLOCKS[:3], row("threshold", "plan", 500.0)))[1]
    assert text.endswith("it takes 500 mJ: changing it on the way pays too.")


def test_where_threshold_exits_can_be_late_the_clock_is_judged_with_the_full_network():
    late = [row("threshold", governor, 1400.0, late=0.5) for governor in ("stock", "performance", "fixed", "plan")]
    text = findings((*WHOLE, row("last", "performance", 1350.0), *late))[1]
    assert text == (
        'Choosing the clock pays here: with the same exits ("full network") it takes 1,350 mJ of simulated energy at '
        "the highest clock (race to idle), 1,300 mJ with the stock governor and 980 mJ at the best fixed clock."
    )


def test_the_forecast_is_judged_against_the_best_rule_without_one():
    controls = row("check-and-cap", "plan", 450.0), row("thresholds", "plan", 400.0)
    text = findings((*WHOLE, *CLOCKS, *controls, row("forecast", "plan", 440.0)))[2]
    assert text.startswith("The learned forecast does not pay here")
    assert '("per-exit thresholds") 400 mJ, 10% more' in text


def test_the_forecast_is_said_to_pay_where_it_does():
    text = findings((*WHOLE, *CLOCKS, row("forecast", "plan", 301.0)))[2]
    assert text.startswith("The learned forecast pays here")
    assert '("threshold") 602 mJ, 50% less' in text


def test_late_answers_of_the_published_method_are_told():
    (_, text) = findings((*WHOLE, row("predictive-exit", "predictive-exit", 700.0, late=0.25)))
    assert "25.0% of the images after the deadline" in text


def test_the_bound_is_no_policy():
    assert findings((*WHOLE, row("oracle", "clairvoyant", 300.0, bound=True))) == ()


def test_every_sentence_with_an_energy_says_simulated():
    rows = (*WHOLE, *CLOCKS, row("forecast", "plan", 301.0))
    assert all("simulated" in sentence for sentence in findings(rows) if " mJ" in sentence)
