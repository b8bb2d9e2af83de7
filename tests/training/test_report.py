"""Several models on the same events, from files to the JSON document."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from smartfilter.cli import main
from smartfilter.errors import InputError, ModelFileError, UsageError
from smartfilter.events import encode_event_type
from smartfilter.graphs import PRESETS
from smartfilter.io import LabelledWriter
from smartfilter.model_file import read_model_info, save_model
from smartfilter.model_info import Calibration, ModelInfo, SkimInfo, sigmoid
from smartfilter.pdg import load_vocabulary
from smartfilter.points import Times
from smartfilter.scoring import Scorer
from smartfilter.speedup import find_best_threshold
from smartfilter.training.report import evaluate_models
from smartfilter.training.scored import score_models
from smartfilter.training.split import SPLITS, Split

N_EVENTS = 4_000
TIMES = Times(1.0, 100.0)


class Count(nn.Module):
    """The logit is the number of nodes over a width, plus the mean of x times noise."""

    def __init__(self, width: float, noise: float) -> None:
        super().__init__()
        self.width = width
        self.noise = noise

    def forward(
        self,
        x: torch.Tensor,
        pdg: torch.Tensor,
        mother: torch.Tensor,
        offsets: torch.Tensor,
        event_type: torch.Tensor,
    ) -> torch.Tensor:
        n_nodes = (offsets[1:] - offsets[:-1]).to(torch.float32)
        sums = torch.cumsum(x[:, 1], 0)
        total = torch.cat([torch.zeros(1), sums])[offsets]
        mean = (total[1:] - total[:-1]) / n_nodes.clamp(min=1.0)
        logit = (n_nodes - 11.0) / self.width + self.noise * mean
        return logit.unsqueeze(1)


def make_model(path, *, noise=0.0, skim="toy", training=None, rate=0.1):
    preset = PRESETS["smart_background"]
    constants = Calibration(1.0, 0.0, rate, 0.2, 2.0, 0.5, 0.0, n_passing=1e6)
    info = ModelInfo(
        preset=preset.name,
        features=tuple((f.name, f.unit) for f in preset.features),
        vocabulary=load_vocabulary(preset.vocabulary),
        skims=(SkimInfo(skim, None, {"default": constants}),),
        network="count",
        settings={},
        n_parameters=1,
        training=training or {},
    )
    save_model(path, Count(1.2, noise), info)
    return path


def record(seed, cost=100.0):
    return {
        "split": {"fractions": [0.3, 0.2, 0.5], "seed": seed},
        "config": {"simulation_cost": cost},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def events(toy_events):
    """Events whose true pass probability is the score of the exact model."""
    made = toy_events(N_EVENTS, seed=3).with_event_type("mixed")
    rng = np.random.default_rng(5)
    counts = made.counts.astype(float)
    truth = sigmoid((counts - 11.0) / 1.2)
    passes = rng.random(N_EVENTS) < truth
    variables = {
        "n": counts.astype(np.float32),
        "noise": rng.normal(size=N_EVENTS).astype(np.float32),
    }
    return replace(made.with_labels({"toy": passes}), variables=variables)


@pytest.fixture(scope="module")
def data(folder, events):
    path = folder / "toy.parquet"
    with LabelledWriter(path, ("toy",), tuple(events.variables), {}) as writer:
        writer.write(events)
    return path


@pytest.fixture(scope="module")
def exact(folder, events):
    rate = float(events.labels["toy"].mean())
    return make_model(folder / "exact.pt", training=record(0), rate=rate)


@pytest.fixture(scope="module")
def worse(folder, events):
    rate = float(events.labels["toy"].mean())
    return make_model(folder / "worse.pt", noise=4.0, training=record(1), rate=rate)


def call(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code or 0


def run(capsys, *arguments):
    code = call("--json", "evaluate", *arguments)
    out = capsys.readouterr()
    return code, json.loads(out.out) if code == 0 else out.err


def test_score_models_leaves_out_what_any_model_was_trained_on(
    data, events, exact, worse
):
    scored = score_models([data], [Scorer(exact), Scorer(worse)])
    one, other = (Split((0.3, 0.2, 0.5), seed).assign(events) for seed in (0, 1))
    unseen = (one == 2) & (other == 2)
    for model in scored:
        assert len(model.test) == unseen.sum() > 500
        assert model.test.n_dropped == (~unseen).sum()
        np.testing.assert_array_equal(
            model.test.passes[:, 0], events.labels["toy"][unseen]
        )
        assert model.validation is None
    assert not np.array_equal(scored[0].test.scores, scored[1].test.scores)


def test_score_models_validation_events_are_those_of_the_model(
    data, events, exact, worse
):
    scorers = [Scorer(exact), Scorer(worse)]
    first, second = score_models([data], scorers, validation=[False, True])
    own = Split((0.3, 0.2, 0.5), 1).assign(events) == SPLITS.index("validation")
    assert first.validation is None
    assert second.validation is not None
    np.testing.assert_array_equal(
        second.validation.passes[:, 0], events.labels["toy"][own]
    )


def test_score_models_without_a_common_skim_refused(folder, data, exact):
    other = make_model(folder / "other.pt", skim="another", training=record(0))
    with pytest.raises(UsageError, match="all have, got none"):
        score_models([data], [Scorer(exact), Scorer(other)])
    with pytest.raises(
        UsageError, match=r"expected one of another in .*other\.pt, got 'toy'"
    ):
        score_models([data], [Scorer(exact), Scorer(other)], skims=["toy"])


def test_evaluate_models_calibrated_model_agrees_and_worse_one_does_not(
    data, exact, worse
):
    good, bad = evaluate_models([data], [Scorer(exact), Scorer(worse)], times=TIMES)
    assert good.assessment.agreement.p_value > 0.01
    assert bad.assessment.agreement.corrected_p_value < 1e-4
    assert good.differences["toy"] == (0.0, 0.0)
    difference, error = bad.differences["toy"]
    areas = [r.assessment.evaluations["toy"].auc for r in (good, bad)]
    assert difference == pytest.approx(areas[1] - areas[0])
    assert difference < -3 * error < 0


def test_evaluate_models_threshold_is_that_of_the_training_for_its_times(data, exact):
    (report,) = evaluate_models([data], [Scorer(exact)], times=TIMES)
    result = report.assessment.main["toy"]
    assert result.threshold_from == "model"
    assert result.evaluation is not None
    assert result.evaluation.threshold == 0.2


def test_evaluate_models_other_times_choose_on_validation_events(data, events, exact):
    times = Times(1.0, 20.0, 0.5)
    (report,) = evaluate_models([data], [Scorer(exact)], times=times)
    result = report.assessment.main["toy"]
    assert result.threshold_from == "validation"
    part = Split((0.3, 0.2, 0.5), 0).assign(events)
    score = sigmoid((events.counts - 11.0) / 1.2)
    own = part == SPLITS.index("validation")
    # Fewer than 1,000 passing events: calibrated scores stand for the labels.
    best = find_best_threshold(
        score[own],
        score[own],
        retention_rate=float(score[own].mean()),
        **times._asdict(),
    )
    assert result.evaluation is not None
    assert result.evaluation.threshold == pytest.approx(best.threshold)
    kept = (score >= best.threshold)[part == SPLITS.index("test")]
    passes = events.labels["toy"][part == SPLITS.index("test")]
    assert result.evaluation.tpr == pytest.approx(kept[passes].mean())


def test_evaluate_models_bias_of_the_variable_that_decides(data, exact):
    (report,) = evaluate_models([data], [Scorer(exact)], times=TIMES, bias=True)
    samples = report.bias["toy"].samples
    assert set(samples) == {"threshold", "sampling", "reweighted"}
    assert not samples["threshold"].rows["n"].is_random
    assert samples["threshold"].rows["n"].divergence > 0.1
    assert samples["threshold"].rows["n"].pull_width > 4
    assert samples["sampling"].rows["n"].divergence < 0.01
    assert samples["sampling"].rows["n"].pull_width < 2
    assert all(one.rows["noise"].divergence < 0.1 for one in samples.values())
    curves = report.to_curves("toy")
    assert set(curves["histograms"]) == {"n", "noise"}
    assert set(curves["histograms"]["n"]["samples"]) == set(samples)


def test_evaluate_models_bias_without_variables_refused(folder, events, exact):
    path = folder / "plain.parquet"
    with LabelledWriter(path, ("toy",), (), {}) as writer:
        writer.write(events)
    with pytest.raises(InputError, match="event-level variables"):
        evaluate_models([path], [Scorer(exact)], times=TIMES, bias=True)


def test_evaluate_models_bias_of_few_events_refused(folder, events, exact):
    path = folder / "few.parquet"
    with LabelledWriter(path, ("toy",), tuple(events.variables), {}) as writer:
        writer.write(events.take(slice(150)))
    with pytest.raises(InputError, match="at least 40 passing events"):
        evaluate_models([path], [Scorer(exact)], times=TIMES, bias=True)


def test_evaluate_models_without_passing_events_refused(folder, events, exact):
    path = folder / "none.parquet"
    none = events.with_labels({"toy": np.zeros(N_EVENTS, dtype=bool)})
    with LabelledWriter(path, ("toy",), (), {}) as writer:
        writer.write(none)
    with pytest.raises(InputError, match="expected passing and failing events"):
        evaluate_models([path], [Scorer(exact)], times=TIMES)


def test_evaluate_models_model_without_a_split_needs_all_events(folder, data):
    foreign = make_model(folder / "foreign.pt")
    with pytest.raises(ModelFileError, match=r"split: .* training record"):
        evaluate_models([data], [Scorer(foreign)], times=TIMES)
    (report,) = evaluate_models([data], [Scorer(foreign)], times=TIMES, all_events=True)
    assert len(report.assessment.sample) == N_EVENTS


def test_evaluate_command_first_model_is_at_the_top(capsys, data, exact, worse):
    code, document = run(capsys, exact, worse, data)
    assert code == 0
    assert len(document["models"]) == 2
    first = document["models"][0]["skims"]["toy"]
    for key in (
        "auc",
        "accuracy",
        "max_speedup",
        "best_threshold",
        "sampling_speedup",
        "calibration_error",
    ):
        assert document[key] == first[key]
    assert document["model"]["digest"] == read_model_info(exact)[1]
    second = document["models"][1]["skims"]["toy"]
    assert second["auc_low"] < second["auc"] < second["auc_high"]
    assert second["auc_difference"] == pytest.approx(second["auc"] - first["auc"])
    agreement = document["models"][0]["agreement"]
    assert agreement["n_quantiles"] == 10
    assert 0 <= agreement["p_value"] <= 1


def test_evaluate_command_models_and_data_in_any_order(capsys, data, exact, worse):
    _, one = run(capsys, data, exact, worse)
    _, other = run(capsys, exact, data, worse)
    for key in ("command_line", "machine"):
        assert one.pop(key)
        assert other.pop(key)
    assert one == other


def test_evaluate_command_tables(capsys, data, exact, worse):
    assert call("evaluate", exact, worse, data, "--bias") == 0
    text = capsys.readouterr().out
    for expected in ("max.", "AUC - first", "exact.pt", "worse.pt", "reweighted"):
        assert expected in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 120
    assert call("evaluate", exact, data) == 0
    assert "by chance" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["model", "data"])
def test_evaluate_command_without_model_or_data_refused(capsys, data, exact, missing):
    code, text = run(capsys, data if missing == "model" else exact)
    assert code == 2
    assert "one or more models (.pt, .onnx, gcn, subtree) and data" in " ".join(
        text.split()
    )


def test_evaluate_command_writes_numbers_and_figures(capsys, tmp_path, data, exact):
    output = tmp_path / "out"
    code, document = run(capsys, exact, data, "--bias", "-o", output)
    assert code == 0
    names = {path.name for path in output.iterdir()}
    figures = ("roc", "calibration", "speedup", "weights", "bias", "divergence")
    assert names == {
        "evaluate.json",
        *(f"{f}.{k}" for f in figures for k in ("png", "pdf")),
    }
    written = json.loads((output / "evaluate.json").read_text())
    curves = written.pop("curves")
    assert written == document
    assert len(curves["models"]) == 1
    code, text = run(capsys, exact, data, "-o", output)
    assert code == 2
    assert "exists; use --force" in text
    assert call("report", output, "--json") == 0
    page = json.loads(capsys.readouterr().out)
    assert page["sections"] == ["Evaluation"]
    assert page["n_figures"] == len(figures)
    html = (output / "report.html").read_text()
    metrics = document["skims"]["toy"]
    assert f"{metrics['auc']:.4f} ± {metrics['auc_error']:.4f}" in html
    for sample in document["models"][0]["bias"]["toy"]["samples"].values():
        assert f"<td>{sample['n_eff']:,.0f}</td>" in html


def test_evaluate_command_takes_shipped_models_by_name(
    capsys, tmp_path, data, exact, monkeypatch
):
    code, text = run(capsys, data)
    assert code == 2
    assert "gcn, subtree" in text
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    shutil.copy(exact, shipped / "gcn.pt")
    monkeypatch.setattr(
        "smartfilter.model_file.find_shipped", lambda: {"gcn": shipped / "gcn.pt"}
    )
    monkeypatch.chdir(tmp_path)
    code, document = run(capsys, "gcn", data)
    assert code == 0
    assert document["model"]["path"] == str(shipped / "gcn.pt")
    _, same = run(capsys, exact, data)
    assert document["auc"] == same["auc"]
    code, text = run(capsys, "subtre", data)
    assert code == 2


def test_evaluate_command_unknown_event_type_is_the_default(
    capsys, folder, events, exact
):
    path = folder / "unknown.parquet"
    codes = np.full(N_EVENTS, -1, dtype=np.int8)
    codes[::2] = encode_event_type("mixed")
    with LabelledWriter(path, ("toy",), (), {}) as writer:
        writer.write(events.with_event_type_codes(codes))
    code, document = run(capsys, exact, path)
    assert code == 0
    types = {result["event_type"] for result in document["results"]}
    assert types == {"mixed", "default"}
    unseen = Split((0.3, 0.2, 0.5), 0).assign(events) == SPLITS.index("test")
    assert document["n_events"] == unseen.sum()
    assert document["n_left_out"] == N_EVENTS - unseen.sum()
