"""Commands as a user types them: output, exit codes, nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from smartfilter.cli import COMMANDS, cli
from smartfilter.cli.generate_command import command as generate
from smartfilter.cli.options import EVENT_TYPE, skims_option
from smartfilter.events import EVENT_TYPES
from smartfilter.io import open_events, read_scores
from smartfilter.scoring import Scorer

SKIM = "feiHadronicB0"


def test_help_is_printed_without_loading_torch():
    code = "from smartfilter.cli import main\nimport sys\ntry: main(['--help'])\n"
    code += "except SystemExit: print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "score" in done.stdout
    assert "'torch'" not in done.stderr
    assert "'uproot'" not in done.stderr


def test_speedup_of_a_perfect_filter_is_the_known_one(run):
    code, out, _ = run("speedup", "--tpr", "1", "--fpr", "0", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["schema_version"] == 1
    assert document["speedup"] == pytest.approx(16.83, abs=0.005)
    assert document["printed_formula"] == pytest.approx(1.0)
    assert document["substituted_formula"] == pytest.approx(20.0)
    assert document["speedup_limit"] == pytest.approx(16.83, abs=0.005)


def test_speedup_of_rates_refuses_a_skim_that_nothing_uses(run):
    code, _, err = run("speedup", "--tpr", "1", "--fpr", "0", "--skim", SKIM)
    assert code == 2
    assert "--skim goes with SCORES" in err


def test_json_works_before_and_after_the_command(run):
    before = run("--json", "speedup", "--tpr", "0.8", "--fpr", "0.1")
    after = run("speedup", "--tpr", "0.8", "--fpr", "0.1", "--json")
    assert before == after


@pytest.mark.parametrize("suffix", [".parquet", ".root"])
def test_score_writes_one_row_per_event(run, example, tmp_path, suffix):
    output = tmp_path / f"scores{suffix}"
    code, out, _ = run("score", example, "-o", output, "--mode", "sample", "--json")
    assert code == 0
    document = json.loads(out)
    table = read_scores(output)
    events = open_events(example).read()
    assert document["n_events"] == len(table) == len(events)
    assert document["n_kept"] == table["keep"].sum() == table.metadata["n_kept"]
    assert document["output"] == str(output)
    assert np.array_equal(table["event"], events.event)
    scorer = Scorer()
    column = scorer.info.skim_names.index(SKIM)
    logit = scorer.score(events).logits[:, column]
    assert table[f"logit_{SKIM}"] == pytest.approx(logit, abs=1e-4)
    weight, p = table[f"weight_{SKIM}"], table[f"keep_probability_{SKIM}"]
    assert weight[table["keep"]] == pytest.approx(1 / p[table["keep"]])
    assert table.metadata["sum_weight"][SKIM] == pytest.approx(weight.sum())
    assert table.metadata["sum_weight2"][SKIM] == pytest.approx((weight**2).sum())
    assert table.metadata["model_digest"] == Scorer().digest


def test_score_prints_a_table_without_json(run, example):
    code, out, _ = run("score", example)
    assert code == 0
    for word in ("events", "kept", "sum of weights", "events/s"):
        assert word in out


def test_score_reads_every_real_file(run, shared_data, tmp_path):
    files = sorted((shared_data / "mdst").glob("*.root"))
    output = tmp_path / "scores.parquet"
    code, out, _ = run("score", *files, "-o", output, "--json")
    assert code == 0
    expected = sum(open_events(file).n_events for file in files)
    assert json.loads(out)["n_events"] == expected == len(read_scores(output))


@pytest.mark.parametrize(
    "name",
    [
        "bad-input/header-only.root",
        "bad-input/git-lfs-pointer.root",
        "bad-input/tree-without-mcparticles.root",
        "other/bacon-genparticle.root",
    ],
)
def test_score_of_a_bad_file_is_one_sentence_and_exit_code_3(
    run, shared_data, tmp_path, name
):
    code, out, err = run("score", shared_data / name, "-o", tmp_path / "out.parquet")
    assert code == 3
    assert out == ""
    assert err.startswith("Error: ")
    assert Path(name).name in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_score_of_a_file_without_events_is_empty_or_refused(run, shared_data, tmp_path):
    file = shared_data / "bad-input" / "zero-events-no-mcparticles.root"
    output = tmp_path / "out.parquet"
    code, _, err = run("score", file, "-o", output)
    assert code in (0, 3)
    assert "Traceback" not in err
    assert (code == 0) == output.exists()
    if output.exists():
        assert len(read_scores(output)) == 0


def test_score_refuses_to_replace_without_force(run, example, tmp_path):
    output = tmp_path / "scores.parquet"
    output.write_text("mine")
    code, _, err = run("score", example, "-o", output)
    assert code == 2
    assert "--force" in err
    assert output.read_text() == "mine"
    assert run("score", example, "-o", output, "--force")[0] == 0
    assert len(read_scores(output)) > 0


def test_score_refuses_a_threshold_that_is_not_a_number(run, example):
    """Every comparison with NaN is false: it once dropped all events in silence."""
    code, out, err = run("score", example, "--threshold", "nan")
    assert code == 2
    assert out == ""
    assert "threshold" in err


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("score", "events.root", "--threshold"),
        ("simulate", "events.root", "-o", "o.parquet", "--timeout"),
        ("simulate", "events.root", "-o", "o.parquet", "--step"),
        ("produce", "-n", "5", "--event-type", "mixed", "-o", "folder", "--step"),
        ("measure", "-n", "5", "--threshold"),
        ("measure", "-n", "5", "--step"),
        ("speedup", "--tpr"),
        ("speedup", "--t-s"),
        ("working-point", "scores.parquet", "--t-s"),
        ("train", "data.parquet", "-o", "m.pt", "--minutes"),
    ],
)
def test_number_that_is_not_finite_is_wrong_usage(run, arguments, value):
    """--timeout nan was said to have no JSON form."""
    code, out, err = run(*arguments, value)
    assert (code, out) == (2, "")
    assert f"Invalid value for '{arguments[-1]}': " in err
    assert value in err


def test_skim_of_another_file_says_what_it_expects(run, example):
    """It was called truncated or damaged."""
    code, _, err = run("skim", example)
    assert code == 3
    assert "expected a detector objects file" in err
    assert "b'root'" in err


def test_model_that_is_a_folder_is_not_suggested_again(run, tmp_path):
    (tmp_path / "model.pt").mkdir()
    code, _, err = run("inspect", tmp_path / "model.pt")
    assert code == 4
    assert "Is a directory" in err
    assert "did you mean" not in err


def test_score_names_the_nearest_skim(run, example):
    code, _, err = run("score", example, "--skim", "feiHadronicB")
    assert code == 2
    assert f"did you mean '{SKIM}'" in err


def test_score_with_a_wrong_model_is_exit_code_4(run, example, tmp_path):
    model = tmp_path / "model.pt"
    model.write_bytes(b"not a model")
    for name in (model, tmp_path / "absent.pt"):
        code, _, err = run("score", example, "--model", name)
        assert code == 4
        assert "Traceback" not in err


def test_score_on_an_absent_gpu_is_exit_code_5(run, example):
    code, _, err = run("score", example, "--device", "cuda:99")
    assert code == 5
    assert "cuda:99" in err


@pytest.mark.parametrize("command", ["score", "simulate", "train", "generate"])
def test_seed_below_zero_is_a_usage_error(run, example, command):
    code, _, err = run(command, example, "--seed", "-1")
    assert code == 2
    assert "'--seed': -1 is not in the range" in err


def test_score_with_the_same_seed_decides_the_same_in_any_batch(run, example, tmp_path):
    results = []
    for name, size in (("a", 7), ("b", 1000)):
        output = tmp_path / f"{name}.parquet"
        options = ("--mode", "sample", "--seed", "5", "--batch-size", str(size))
        assert run("score", example, "-o", output, *options)[0] == 0
        results.append(read_scores(output))
    assert np.array_equal(results[0]["keep"], results[1]["keep"])


def test_speedup_of_a_score_file_follows_from_its_scores(run, example, tmp_path):
    output = tmp_path / "scores.parquet"
    run("score", example, "-o", output, "--mode", "sample", "--skim", SKIM)
    code, out, _ = run("speedup", output, "--json")
    assert code == 0
    document, table = json.loads(out), read_scores(output)
    score = table[f"score_{SKIM}"].astype(float)
    p = table[f"keep_probability_{SKIM}"]
    assert document["retention_rate"] == pytest.approx(score.mean())
    cost = np.mean(score / p) * (1 + 100 * p.mean())
    assert document["sampling_speedup"] == pytest.approx(score.mean() * 101 / cost)


def test_speedup_of_a_threshold_has_no_sampling_formula(run, example, tmp_path):
    """Lost events have no weight; (C) used to be printed as 0.00."""
    output = tmp_path / "scores.parquet"
    run("score", example, "-o", output, "--skim", SKIM)
    _, out, _ = run("speedup", output, "--json")
    document, table = json.loads(out), read_scores(output)
    score, keep = table[f"score_{SKIM}"].astype(float), table["keep"]
    assert document["sampling_speedup"] is None
    assert document["tpr"] == pytest.approx(score[keep].sum() / score.sum())
    code, text, _ = run("speedup", output)
    assert code == 0
    assert "(A)" in text
    assert "(C)" not in text


def test_inspect_shows_the_auc_of_the_model(run):
    from smartfilter.model_file import default_model_path

    code, out, _ = run("inspect", default_model_path(), "--json")
    assert code == 0
    document = json.loads(out)
    assert document["skims"] == list(Scorer().info.skim_names)
    assert SKIM in document["skims"]
    assert document["training"]["metrics"][SKIM]["auc"] > 0.86
    code, out, _ = run("inspect", default_model_path())
    assert "auc" in out.lower()


def test_inspect_of_events_counts_them(run, example):
    code, out, _ = run("inspect", example, "--json")
    document = json.loads(out)
    events = open_events(example).read()
    assert code == 0
    assert document["n_events"] == len(events)
    assert document["particles_per_event"]["max"] == events.counts.max()
    assert document["n_unscorable"] == 0


def test_inspect_draws_the_decay_tree_of_an_event(run, example):
    code, out, _ = run("inspect", example, "--event", "0")
    assert code == 0
    assert "Upsilon(4S)" in out
    assert "GeV" in out
    code, _, err = run("inspect", example, "--event", "999999")
    assert code == 3
    assert "999999" in err


def test_generate_and_simulate_write_what_score_reads(run, tmp_path):
    events, labelled = tmp_path / "events.root", tmp_path / "labelled.parquet"
    options = ("-n", "30", "--event-type", "charged", "--seed", "3")
    assert run("generate", *options, "-o", events)[0] == 0
    assert run("simulate", events, "-o", labelled)[0] == 0
    first, second = open_events(events).read(), open_events(labelled).read()
    assert np.array_equal(first["pdg"], second["pdg"])
    assert SKIM in second.labels
    code, out, _ = run("score", labelled, "--json")
    assert code == 0
    assert json.loads(out)["event_types"] == {"charged": 30}


def test_simulate_with_geant4_labels_the_same_events(run, tmp_path):
    if find_spec("geant4_pybind") is None:
        pytest.skip("geant4-pybind is not installed")
    events, labelled = tmp_path / "events.root", tmp_path / "labelled.parquet"
    assert run("generate", "-n", "3", "--event-type", "mixed", "-o", events)[0] == 0
    assert run("simulate", events, "-o", labelled, "--detector", "geant4")[0] == 0
    first, second = open_events(events).read(), open_events(labelled).read()
    assert np.array_equal(first["pdg"], second["pdg"])
    assert second.variables["n_tracks"].max() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "-n", "5", "--event-type", "mixed", "-o", "x.txt"), ".root"),
        (("simulate", "events.root", "-o", "x.root"), ".parquet"),
        (("train", "labelled.parquet", "-o", "x.zip"), ".pt"),
        (("produce", "-n", "5", "--event-type", "mixed", "-o", "/proc/x"), "/proc/x"),
    ],
)
def test_output_that_cannot_be_is_a_usage_error(
    run, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments)
    assert code == 2
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_decay_table_shares_add_up_for_every_particle(run):
    code, out, _ = run("decay-table", "--json")
    assert code == 0
    particles = {entry["name"]: entry for entry in json.loads(out)["particles"]}
    assert {"B0", "B+", "D0", "D+", "D_s+"} <= set(particles)
    for entry in particles.values():
        shares = ("exact", "approximate", "phase_space", "unmapped")
        assert sum(entry[share] for share in shares) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_has_an_example(run, name: str):
    code, out, _ = run(name, "--help")
    assert code == 0
    assert "smartfilter" in out
    assert "Example" in out
    assert max(map(len, out.splitlines())) <= 80
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    options = command.params
    silent = [o.name for o in options if isinstance(o, click.Option) and not o.help]
    assert silent == []


def test_help_of_the_group_has_examples_and_exit_codes(run):
    code, out, _ = run("--help")
    assert code == 0
    for expected in ("Examples:", "Exit codes: 0 done", *COMMANDS):
        assert expected in out
    assert max(map(len, out.splitlines())) <= 80


def test_event_types_of_the_options_are_those_of_events():
    assert tuple(EVENT_TYPE.choices) == EVENT_TYPES


def test_skims_option_gives_each_skim_once():
    @click.command()
    @skims_option
    def show(skims: tuple[str, ...]) -> None:
        click.echo(" ".join(skims))

    arguments = ("--skim", "b", "--skim", "a", "--skim", "b")
    assert CliRunner().invoke(show, arguments).output == "b a\n"


def test_decay_table_choices_are_those_of_the_generator():
    generator = pytest.importorskip("smartfilter.pipeline.generator")
    option = next(p for p in generate.params if p.name == "decay_table")
    assert isinstance(option.type, click.Choice)
    assert tuple(option.type.choices) == generator.DECAY_TABLES
    assert option.default == generator.DECAY_TABLES[0]


def test_unknown_command_names_the_nearest(run):
    code, _, err = run("scor", "x.root")
    assert code == 2
    assert "did you mean 'score'" in err


@pytest.mark.parametrize(
    ("mode", "n_rows"), [("threshold", 1), ("sample", 1), ("official", 10)]
)
def test_score_says_equal_sums_of_weights_once(run, mode: str, n_rows: int):
    code, out, _ = run("score", "examples/events.root", "--mode", mode)
    assert code == 0
    rows = [line for line in out.splitlines() if "sum of weights" in line]
    assert len(rows) == n_rows
    assert ("each of 10 skims" in rows[0]) == (n_rows == 1)
