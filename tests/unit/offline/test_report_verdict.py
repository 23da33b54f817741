from replay_results import bounds, replay, run, whole_study

from edgeexit.offline.reporting.comparing import Answer
from edgeexit.offline.reporting.selection import deadlines
from edgeexit.offline.reporting.verdict import clock_control, early_exit, forecast, verdict


def at_deadline(*runs, **changes):
    return deadlines(replay(*runs, **changes))[0]


def text_of(finding):
    return " ".join(finding.sentences)


def without(runs, *names):
    return [each for each in runs if (each.rule, each.governor) not in names]


def test_early_exit_is_worth_it_where_it_saves_half():
    found = early_exit(at_deadline(*whole_study()))
    assert found.answer is Answer.YES
    assert found.saving.value == 0.5  # 150 mJ instead of the full network's best, 300 mJ
    assert found.sentences == (
        'The best run with exits, "forecast" with plan, takes 150 mJ (148 to 152) of simulated energy for each '
        "inference; the full network takes 400 mJ (396 to 404) with stock, 380 mJ (376 to 384) with performance and "
        "300 mJ (297 to 303) with best-fixed (its best).",
        "That is 50.0 % less (49.3 to 50.7) than the full network's best, and 62.5 % less (62.0 to 63.0) than the full "
        "network with stock.",
        "Accuracy is 90.0 % (89.0 to 91.0) against 90.0 % (89.0 to 91.0): equal as far as the intervals tell.",
    )


def test_early_exit_is_not_worth_it_where_heads_cost_more_than_exits_save():
    found = early_exit(at_deadline(run("last", "stock", 100.0), run("threshold", "stock", 104.0)))
    assert found.answer is Answer.NO
    assert "4.0 % more (2.5 to 5.5) than the full network's best" in text_of(found)


def test_a_rule_as_accurate_as_the_full_network_is_preferred_to_a_cheaper_one():
    found = early_exit(
        at_deadline(
            run("last", "stock", 100.0, accuracy=0.92),
            run("threshold", "stock", 40.0, accuracy=0.85),
            run("forecast", "stock", 60.0, accuracy=0.915),
        )
    )
    assert found.sentences[0].startswith('The best run with exits, "forecast" with stock')


def test_a_price_in_accuracy_is_named_and_makes_the_answer_hardly():
    found = early_exit(
        at_deadline(run("last", "stock", 100.0, accuracy=0.92), run("threshold", "stock", 40.0, accuracy=0.85))
    )
    assert found.answer is Answer.HARDLY
    assert "This is not at equal accuracy" in text_of(found)
    assert "7.0 points are the price" in text_of(found)


def test_late_answers_make_the_answer_no_and_are_counted():
    found = early_exit(at_deadline(run("last", "stock", 100.0), run("threshold", "stock", 40.0, misses=12)))
    assert found.answer is Answer.NO
    assert found.sentences[-1] == (
        '"threshold" with stock is late in 12 of 1,000 (1.20 %) and cut short in none of 1,000; the full network with '
        "stock is late in none of 1,000 and cut short in none of 1,000."
    )


def test_clock_control_is_judged_with_the_same_exits_on_both_sides():
    found = clock_control(at_deadline(*whole_study()))
    assert found.answer is Answer.YES
    assert found.sentences == (
        'With the exits of "threshold", an inference takes 240 mJ (238 to 242) with stock, 230 mJ (228 to 232) with '
        "performance, 200 mJ (198 to 202) with best-fixed and 180 mJ (178 to 182) with plan (simulated).",
        "The best choice of clocks, plan, takes 21.7 % less (20.6 to 22.8) than performance, the better of what a "
        "board does without it.",
        "Changing the clock on the way pays too: plan takes 10.0 % less (8.7 to 11.3) than best-fixed.",
    )


def test_one_clock_chosen_once_can_be_enough():
    runs = (
        run("threshold", "stock", 240.0),
        run("threshold", "best-fixed", 200.0),
        run("threshold", "plan", 199.5),
    )
    found = clock_control(at_deadline(*runs))
    assert found.answer is Answer.YES
    assert "Changing the clock on the way does not pay: plan takes 0.2 % less" in text_of(found)


def test_clock_control_is_not_worth_it_where_racing_to_idle_is_best():
    runs = (run("threshold", "performance", 100.0), run("threshold", "best-fixed", 100.0))
    found = clock_control(at_deadline(*runs))
    assert found.answer is Answer.NO
    assert "was not asked: run with --governor plan" in text_of(found)


def test_the_forecast_is_judged_for_the_clocks_and_for_the_exits():
    found = forecast(at_deadline(*whole_study(), bounds=bounds()))
    assert found.answer is Answer.YES
    assert found.remark == "by the exits"
    assert found.sentences == (
        'For the clocks: hardly; with the exits of "forecast", "plan" takes 150 mJ (148 to 152) when it uses each '
        "sample's forecast and 153 mJ (151 to 155) when it knows only how often each exit answers: 2.0 % less (0.6 to "
        "3.3) (simulated).",
        'With the exits of "forecast", "plan" lies 0.67 % above the optimum with the same knowledge and 7.14 % above '
        "the clairvoyant bound of 140 mJ, for which every exit is known in advance: while the rule looks at "
        "the same exits, no forecast, however good, could save more than the latter.",
        'If it looked at no exit but the one that answers, the bound would be 120 mJ: "plan" lies 25.00 % above that.',
        'For the exits: yes; the best run with a forecasting rule, "forecast" with plan, takes 150 mJ (148 to 152), '
        'the best with a rule that does not forecast, "threshold" with plan, 180 mJ (178 to 182): 16.7 % less (15.5 to '
        "17.8) (simulated). Accuracy is 90.0 % (89.0 to 91.0) against 90.0 % (89.0 to 91.0): equal as far as the "
        "intervals tell.",
    )


def test_the_forecast_is_not_worth_it_where_neither_clocks_nor_exits_gain():
    runs = (
        run("forecast", "plan", 100.0),
        run("forecast", "plan-population", 100.0),
        run("threshold", "plan", 99.0),
    )
    found = forecast(at_deadline(*runs))
    assert found.answer is Answer.NO
    assert "For the clocks: no;" in text_of(found)
    assert "For the exits: no;" in text_of(found)


def test_a_run_that_is_missing_gives_a_sentence_and_no_error():
    found = verdict(at_deadline(run("threshold", "stock", 100.0)))
    assert [each.answer for each in found] == [Answer.NOT_ASKED] * 3
    assert [each.saving for each in found] == [None] * 3
    assert text_of(found[0]) == "not asked: run with --rule last --governor stock --governor performance."
    assert text_of(found[1]) == (
        "not asked: run with --rule threshold --governor stock --governor performance --governor best-fixed "
        "--governor plan."
    )
    assert "For the clocks: not asked: run with --rule forecast" in text_of(found[2])
    assert "was not asked: run with --optimum" in text_of(found[2])


def test_without_the_threshold_another_rule_shows_what_clocks_bring():
    found = clock_control(at_deadline(*(each for each in whole_study() if each.rule != "threshold")))
    assert found.sentences[0].startswith("With the exits of the full network")


def test_a_governor_with_options_does_not_stand_for_the_one_without():
    runs = (
        run("forecast", "plan:per_sample=False", 100.0),
        run("forecast", "plan", 150.0),
        run("forecast", "plan-population", 160.0),
    )
    assert forecast(at_deadline(*runs)).saving.value == 1.0 - 150.0 / 160.0


def test_a_run_below_the_bound_is_said_to_cut_answers_short():
    runs = (
        run("forecast", "plan", 130.0, cut_short=250),
        run("forecast", "plan-population", 140.0),
    )
    found = forecast(at_deadline(*runs, bounds=bounds()))
    assert (
        'With the exits of "forecast", "plan" lies 7.14 % below the clairvoyant bound of 140 mJ, which neither cuts '
        "answers short nor lets them be late (250 of 1,000 (25.0 %) cut short, none of 1,000 late): "
        "here it is no bound."
    ) in found.sentences


def test_a_run_that_takes_what_a_bound_takes_lies_at_it():
    found = forecast(at_deadline(run("forecast", "plan", 140.0), bounds=bounds()))
    assert '"plan" lies 6.04 % below the optimum with the same knowledge and at the clairvoyant bound' in text_of(found)
