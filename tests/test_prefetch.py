"""Reading ahead: the same items in the same order, errors in place, nothing left over."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from smartfilter.prefetch import read_ahead


class Source:
    """Numbers; notes how many were made and whether the iteration was closed."""

    def __init__(self, n: int, fails_at: int | None = None) -> None:
        self.n, self.fails_at = n, fails_at
        self.made = 0
        self.closed = False
        self.progress = threading.Condition()

    def __iter__(self):
        try:
            for i in range(self.n):
                if i == self.fails_at:
                    raise OSError("the disk is gone")
                with self.progress:
                    self.made += 1
                    self.progress.notify_all()
                yield i
        finally:
            self.closed = True

    def wait_for(self, made: int) -> None:
        with self.progress:
            assert self.progress.wait_for(lambda: self.made >= made, timeout=10)


def count_threads() -> int:
    return sum(thread.name == "read_ahead" for thread in threading.enumerate())


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("n", [0, 1, 50])
def test_read_ahead_gives_the_same_items_in_order(n, depth):
    source = Source(n)
    with read_ahead(source, depth) as items:
        assert list(items) == list(range(n))
    assert source.closed
    assert count_threads() == 0


def test_read_ahead_reads_before_it_is_asked_and_no_further():
    source = Source(50)
    with read_ahead(source, 2) as items:
        source.wait_for(2)
        assert next(items) == 0
        source.wait_for(3)
        assert source.made == 3
        assert next(items) == 1


def test_read_ahead_error_ends_the_thread_and_the_iteration():
    source = Source(9, fails_at=4)
    with pytest.raises(OSError, match="disk is gone"), read_ahead(source) as items:
        list(items)
    assert count_threads() == 0
    assert source.closed


def test_read_ahead_error_comes_after_the_items_before_it():
    with read_ahead(Source(9, fails_at=4)) as items:
        assert [next(items) for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(OSError, match="disk is gone"):
            next(items)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_read_ahead_interrupted_use_ends_the_thread(error):
    source = Source(10**9)

    def use() -> None:
        with read_ahead(source) as items:
            next(items)
            raise error

    with pytest.raises(error):
        use()
    assert source.closed
    assert source.made < 10
    assert count_threads() == 0


def test_read_ahead_of_what_cannot_be_iterated_raises_in_place():
    nothing: Any = None
    with read_ahead(nothing) as items, pytest.raises(TypeError, match="not iterable"):
        next(items)


def test_read_ahead_never_used_ends():
    source = Source(10**9)
    with read_ahead(source):
        pass
    assert count_threads() == 0
