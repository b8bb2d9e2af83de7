"""Fixtures shared by all tests."""

from __future__ import annotations

import importlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from smartfilter.cli import main
from smartfilter.distributed import Workers, open_workers
from smartfilter.events import PARTICLE_COLUMNS, Events, offsets_from_counts
from smartfilter.graphs import PRESETS
from smartfilter.io import LabelledWriter
from smartfilter.model_file import save_model
from smartfilter.model_info import Calibration, ModelInfo, SkimInfo
from smartfilter.pdg import load_vocabulary

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    """Let tests interrupt what they start, though the shell ran them in the background.

    Such a shell ignores SIGINT for all that descends from it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _find_shared_data() -> Path | None:
    candidate = ROOT.parent / "shared" / "data"
    return candidate if candidate.is_dir() else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real Belle II files, or skip where it is absent."""
    folder = _find_shared_data()
    if folder is None:
        pytest.skip("no real Belle II files: ../shared/data is absent")
    return folder


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Return the folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def example(project_root: Path) -> Path:
    """Return the example file of generated events."""
    return project_root / "examples" / "events.root"


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command and returns exit code, stdout, stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        code = stop.value.code
        assert isinstance(code, int)
        return code, out, err

    return call


@pytest.fixture(scope="module")
def load_benchmark() -> Iterator[Callable[[str], Any]]:
    """Return a function that imports a file of the benchmarks, for this module alone."""
    folder = str(ROOT / "benchmarks")
    before = set(sys.modules)
    sys.path.insert(0, folder)
    yield importlib.import_module
    sys.path.remove(folder)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(folder):
            del sys.modules[name]


class CountNodes(nn.Module):
    """The logit is (n - 40) / 10, n the number of nodes."""

    def forward(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,
    ) -> Tensor:
        n_nodes = (offsets[1:] - offsets[:-1]).to(torch.float32)
        return ((n_nodes - 40.0) / 10.0).unsqueeze(1)


@pytest.fixture(scope="session")
def count_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model file for feiHadronicB0 whose score grows with the particles."""
    preset = PRESETS["smart_background"]
    constants = Calibration(1.0, -2.0, 0.05, 0.1, 1.2, 0.5, 0.0)
    info = ModelInfo(
        preset=preset.name,
        features=tuple((f.name, f.unit) for f in preset.features),
        vocabulary=load_vocabulary(preset.vocabulary),
        skims=(SkimInfo("feiHadronicB0", 11180100, {"default": constants}),),
        network="count",
        settings={},
        n_parameters=0,
    )
    path: Path = tmp_path_factory.mktemp("model") / "count.pt"
    save_model(path, CountNodes(), info)
    return path


@pytest.fixture(scope="session")
def two_workers() -> Iterator[Workers]:
    """Return two workers that tests share; each started takes seconds."""
    pytest.importorskip("distributed")
    with open_workers(2) as workers:
        yield workers


@pytest.fixture(scope="session")
def wait_for_parts() -> Callable[[Path, int], None]:
    """Return a function that waits until a run has finished so many parts."""

    def wait(output: Path, n_parts: int) -> None:
        folder = output.with_name(f".{output.name}.parts")
        deadline = time.monotonic() + 120
        while len(list(folder.glob("[!.]*.npz"))) < n_parts:
            assert time.monotonic() < deadline, "the run makes no progress"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def labelled_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 400 labelled events; those that pass have more particles."""
    rng = np.random.default_rng(0)
    passes = rng.random(400) < 0.3
    counts = np.where(passes, 9, 5)
    offsets = offsets_from_counts(counts)
    position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    columns = {
        name: rng.normal(size=len(position)).astype(dtype)
        for name, dtype in PARTICLE_COLUMNS.items()
    }
    columns |= {
        "pdg": rng.choice([211, -211, 22], len(position)).astype(np.int32),
        "mother_index": (position - 1).astype(np.int32),
        "array_index": position.astype(np.int32),
        "status": np.ones(len(position), np.uint16),
    }
    events = Events.from_columns(offsets, columns, event=np.arange(400))
    path = tmp_path_factory.mktemp("data") / "mixed.parquet"
    labels = {"feiHadronicB0": passes}
    with LabelledWriter(path, tuple(labels), (), {}) as writer:
        writer.write(events.with_labels(labels).with_event_type("mixed"))
    return path
