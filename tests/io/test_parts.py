"""Parts of an output: kept when a run fails, joined by the same run only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smartfilter.errors import InputError, UsageError
from smartfilter.io.lock import OutputLock
from smartfilter.io.parts import Part, PartStore, pack_events, unpack_events


def fail_after(output: Path, keys: str, settings: dict[str, int] | None = None) -> None:
    """Keep some parts and fail."""
    with PartStore(output, settings or {}) as store:
        for key in keys:
            store.save(key, Part({"x": np.arange(3)}, {"key": key}))
        raise KeyboardInterrupt


def test_part_store_gives_back_what_was_kept(tmp_path):
    arrays: dict[str, Any] = {
        "a": np.arange(3),
        "b.c": np.array([np.nan, 1.5], dtype=np.float32),
        "2": np.array([[True, False], [False, True]]),
        "text": np.array(["a", "longer", ""]),
        "none": np.empty((0, 3), dtype=np.uint8),
        **{f"column_of_some_skim_with_a_name_{k}": np.zeros(3) for k in range(300)},
    }
    with PartStore(tmp_path / "out", {"seed": 1}) as store:
        assert "one" not in store
        store.save("one", Part(arrays, {"file": "x", "sum": 0.1 + 0.2}))
        assert "one" in store
        part = store.load("one")
        assert store.load_document("one") == part.document
        assert store.n_parts == 1
    assert part.document == {"file": "x", "sum": 0.1 + 0.2}
    assert set(part.arrays) == set(arrays)
    for name, array in arrays.items():
        assert part.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(part.arrays[name], array)
    assert list(tmp_path.iterdir()) == []


def test_part_store_of_a_failed_run_is_there_for_the_same_run(tmp_path, caplog):
    output = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        fail_after(output, "ab")
    assert "2 finished parts" in caplog.text
    assert "--resume" in caplog.text
    with PartStore(output, {}, resume=True) as store:
        assert [key in store for key in "abc"] == [True, True, False]
        assert store.load("b").document == {"key": "b"}
    assert list(tmp_path.iterdir()) == []


def test_part_store_without_resume_removes_what_is_left(tmp_path):
    output = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        fail_after(output, "ab")
    temporary = tmp_path / f".out.{'0' * 32}.part.parquet"
    others = [tmp_path / f".out.{'0' * 32}.part.root", tmp_path / ".out.x.part.parquet"]
    for path in (temporary, *others):
        path.touch()
    with PartStore(output, {}) as store:
        assert store.n_parts == 0
        assert not temporary.exists()
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_part_store_of_another_run_is_refused(tmp_path):
    output = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        fail_after(output, "ab", {"seed": 1})
    with (
        pytest.raises(UsageError, match="got those of another"),
        PartStore(output, {"seed": 2}, resume=True),
    ):
        pass
    with PartStore(output, {"seed": 1}, resume=True) as store:
        assert store.n_parts == 2


def test_part_store_that_kept_nothing_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fail_after(tmp_path / "out.parquet", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 10, 100])
def test_part_store_does_not_use_a_truncated_part(tmp_path, kept):
    output = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        fail_after(output, "ab")
    path = tmp_path / ".out.parquet.parts" / "a.npz"
    path.write_bytes(path.read_bytes()[:kept])
    with PartStore(output, {}, resume=True) as store:
        assert "a" not in store
        assert "b" in store


def test_part_store_refuses_a_part_whose_bytes_changed(tmp_path):
    output = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        fail_after(output, "a")
    path = tmp_path / ".out.parquet.parts" / "a.npz"
    content = bytearray(path.read_bytes())
    content[content.index(b"NUMPY") + 130] ^= 255
    path.write_bytes(content)
    with (
        PartStore(output, {}, resume=True) as store,
        pytest.raises(InputError, match=r"a\.npz.*cannot be read"),
    ):
        store.load("a")


@pytest.mark.parametrize("arrays", [{}, {"document": np.frombuffer(b"{", np.uint8)}])
def test_part_store_refuses_a_part_without_its_document(tmp_path, arrays):
    output = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        fail_after(output, "a")
    with PartStore(output, {}, resume=True) as store:
        np.savez(store.folder / "a.npz", x=np.arange(3), **arrays)
        for load in (store.load, store.load_document):
            with pytest.raises(InputError, match="cannot be read"):
                load("a")


def test_part_store_refuses_an_existing_output_before_work(tmp_path):
    output = tmp_path / "out.parquet"
    output.write_text("mine")
    with pytest.raises(UsageError, match="--force"), PartStore(output, {}):
        pass
    with PartStore(output, {}, force=True):
        assert output.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [output]


def test_part_store_does_not_follow_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".out.parts").symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(UsageError, match="a folder of this user"),
        PartStore(tmp_path / "out", {}),
    ):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_events_packed_and_unpacked_are_the_same(make_events, assert_same_events):
    events = make_events([3, 0, 2], labels=("A",), variables=("v",))
    again = unpack_events(pack_events(events), "memory")
    assert_same_events(again, events)
    assert again.entry.tolist() == events.entry.tolist()
    assert again.file == "memory"
    with pytest.raises(InputError, match="offsets"):
        unpack_events({}, "memory")


def test_lock_keeps_a_second_run_out_and_says_who_has_it(tmp_path):
    output = tmp_path / "out.parquet"
    message = rf"out\.parquet', got process {os.getpid()} on .* since 20"
    with OutputLock(output):
        with pytest.raises(UsageError, match=message), OutputLock(output):
            pass
        with pytest.raises(UsageError, match=message), PartStore(output, {}):
            pass
    with OutputLock(output):
        pass
    assert list(tmp_path.iterdir()) == []


def hold_lock(output: Path) -> subprocess.Popen[str]:
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from smartfilter.io.lock import OutputLock\n"
        "with OutputLock(Path(sys.argv[1])):\n"
        "    print('locked', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(output)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_lock_of_a_killed_run_is_free(tmp_path):
    output = tmp_path / "out.parquet"
    with hold_lock(output) as process:
        with pytest.raises(UsageError, match=f"process {process.pid} on"):
            OutputLock(output).__enter__()
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / ".out.parquet.lock").exists()
    with OutputLock(output) as lock:
        assert json.loads(lock.path.read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("holder", "is_free"),
    [
        ("", True),
        ("damaged {", True),
        ('{"pid": 4194399, "host": "HERE"}', True),
        ('{"pid": 1, "host": "HERE"}', False),
        ('{"pid": 4194399, "host": "elsewhere.example"}', False),
    ],
)
def test_lock_where_files_cannot_be_locked_looks_for_the_process(
    tmp_path, monkeypatch, holder, is_free
):
    def refuse(*_: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("smartfilter.io.lock.fcntl.flock", refuse)
    monkeypatch.setattr("smartfilter.io.lock.socket.gethostname", lambda: "here")
    output = tmp_path / "out"
    (tmp_path / ".out.lock").write_text(holder.replace("HERE", "here"))
    if is_free:
        with OutputLock(output):
            pass
        return
    with pytest.raises(UsageError, match="no other run"), OutputLock(output):
        pass


def test_lock_is_not_put_where_a_link_points(tmp_path):
    target = tmp_path / "target"
    (tmp_path / ".out.lock").symlink_to(target)
    with pytest.raises(UsageError, match="cannot be written"):
        OutputLock(tmp_path / "out").__enter__()
    assert not target.exists()
