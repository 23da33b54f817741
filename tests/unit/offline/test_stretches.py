import pytest
from small_walks import make_table

from edgeexit.offline.stretches import StretchCosts, worthwhile_points


def test_a_stretch_is_its_segments_and_one_head():
    costs = StretchCosts(make_table(), (0, 2))
    assert costs.time_s(-1, 1) == pytest.approx([8.4, 2.1])
    assert costs.time_s(1, 2) == pytest.approx([4.4, 1.1])
    # Less 0.5 W for as long as it takes.
    assert costs.extra_j(1, 2) == pytest.approx([2.2, 4.4])


def test_the_quickest_way_may_switch_behind_the_first_stretch():
    costs = StretchCosts(make_table(), (0, 1, 2))
    assert costs.chain_s(-1, (0, 1)) == pytest.approx([8.8, 4.4, 2.2])
    assert costs.quickest_s(-1, (0, 1)) == pytest.approx([4.4 + 0.3 + 1.1, 2.2 + 0.3 + 1.1, 2.2])


def test_a_point_that_is_slower_and_draws_more_is_left_out():
    # 3 s and 5 J against 2 s and 3.2 J.
    stretches = {100: (4.0, 4.0), 150: (3.0, 5.0), 200: (2.0, 3.2), 400: (1.0, 4.5)}
    assert worthwhile_points(make_table(stretches=stretches)) == (0, 2, 3)
    assert worthwhile_points(make_table(stretches=stretches, idle_w=[0.1, 0.2, 0.3, 0.4])) == (0, 1, 2, 3)


def test_of_two_equal_points_the_first_stays():
    assert worthwhile_points(make_table(stretches={100: (2.0, 3.0), 200: (2.0, 3.0)})) == (0,)


def test_with_two_domains_every_point_stays():
    stretches = {(1, 1): (2.0, 3.0), (1, 2): (3.0, 5.0), (2, 1): (2.0, 3.0), (2, 2): (1.0, 4.0)}
    assert worthwhile_points(make_table(stretches=stretches)) == (0, 1, 2, 3)
    assert StretchCosts(make_table(stretches=stretches), range(4)).changes[0].tolist() == [0, 1, 1, 2]
