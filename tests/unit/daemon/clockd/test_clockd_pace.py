"""A connection's messages are paced by a token bucket."""

from edgeexit.daemon.clockd.pace import TokenBucket


def test_as_many_messages_as_the_bucket_holds_may_come_at_once():
    bucket = TokenBucket(10.0, 3, 100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_tokens_come_back_at_the_rate():
    bucket = TokenBucket(10.0, 3, 100.0)
    for _ in range(3):
        bucket.take(100.0)
    assert not bucket.take(100.05)
    assert bucket.take(100.1)
    assert not bucket.take(100.15)


def test_no_more_tokens_come_back_than_the_bucket_holds():
    bucket = TokenBucket(10.0, 2, 100.0)
    assert [bucket.take(1000.0) for _ in range(3)] == [True, True, False]


def test_the_next_token_is_foretold():
    bucket = TokenBucket(10.0, 1, 100.0)
    assert bucket.next_s() == 100.0
    bucket.take(100.0)
    assert bucket.next_s() == 100.1


def test_a_clock_that_goes_back_gives_no_tokens():
    bucket = TokenBucket(10.0, 1, 100.0)
    bucket.take(100.0)
    assert not bucket.take(50.0)
