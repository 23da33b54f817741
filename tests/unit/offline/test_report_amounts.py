import pytest

from edgeexit.offline.bootstrap import Estimate
from edgeexit.offline.reporting import amounts


@pytest.mark.parametrize(
    ("value_j", "text"),
    [(0.0412, "41.2 mJ"), (0.0, "0 J"), (5e-5, "50.0 uJ"), (1.2345, "1,234 mJ"), (12.0, "12.0 J")],
)
def test_energies_get_the_unit_that_reads_best(value_j, text):
    assert amounts.joules(value_j) == text


def test_an_interval_has_the_unit_of_its_figure():
    assert amounts.joules_with_interval(Estimate(12.0, 9.5, 14.0)) == "12.0 J (9.50 to 14.0)"


def test_a_figure_without_an_interval_gets_none():
    assert amounts.joules_with_interval(Estimate(0.1, 0.1, 0.1)) == "100 mJ"
    assert amounts.joules_with_interval(Estimate(1.312, 1.31199, 1.31201)) == "1,312 mJ"  # reads like the figure
    assert amounts.percent_with_interval(Estimate(0.5, 0.5, 0.5)) == "50.0 %"
    assert amounts.saving_text(Estimate(0.5, 0.5, 0.5)) == "50.0 % less"


@pytest.mark.parametrize(
    ("share", "text"), [(0.123, "12.3 %"), (-0.0001, "0.0 %"), (-0.02, "-2.0 %"), (1.0, "100.0 %")]
)
def test_what_rounds_to_nothing_has_no_sign(share, text):
    assert amounts.percent(share) == text


def test_a_loss_is_more_and_its_interval_is_turned():
    assert amounts.saving_text(Estimate(-0.05, -0.08, 0.01)) == "5.0 % more (-1.0 to 8.0)"


@pytest.mark.parametrize(("count", "text"), [(0, "none of 1,000,000"), (3, "3 of 1,000,000 (0.0003 %)")])
def test_rare_events_are_counted(count, text):
    assert amounts.rare_share(count, 1_000_000) == text


def test_lists_read_as_in_a_sentence():
    assert [amounts.listed(list(texts)) for texts in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]
