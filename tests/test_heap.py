"""Memory that glibc keeps or gives back."""

from __future__ import annotations

import pytest

from smartfilter import heap


@pytest.fixture
def calls(monkeypatch):
    """Return what the C library is asked for."""
    found = []
    monkeypatch.setattr(
        heap, "_find", lambda name: lambda *args: found.append((name, *args))
    )
    return found


def test_keep_memory_undoes_the_threshold_of_dask(calls, monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    heap.keep_memory()
    assert calls == [("mallopt", -3, 2**25), ("mallopt", -1, 2**26)]


def test_keep_memory_without_a_threshold_does_nothing(calls, monkeypatch):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    heap.keep_memory()
    assert calls == []


def test_release_memory_trims(calls):
    heap.release_memory()
    assert calls == [("malloc_trim", 0)]


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    assert heap._find("no_such_function_of_any_libc") is None
    monkeypatch.setattr(heap, "_find", lambda _: None)
    heap.keep_memory()
    heap.release_memory()
