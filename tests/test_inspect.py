"""``smartfilter inspect`` against plain counts of the same files."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial

import numpy as np
import pytest
from rich.console import Console

from smartfilter.cli import main
from smartfilter.cli.histogram import Histogram, make_bar
from smartfilter.contents import (
    SCORE_EDGES,
    WEIGHT_EDGES,
    count_events,
    count_scores,
    summarise,
)
from smartfilter.events import EVENT_TYPES, PARTICLE_COLUMNS, Events
from smartfilter.graphs import find_dropped
from smartfilter.io import MdstWriter, ScoreFile, open_events, read_scores
from smartfilter.io.origin import read_origin
from smartfilter.model_file import find_model, read_model_info
from smartfilter.pipeline.object_file import open_objects

SKIM = "feiHadronicB0"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def inspect(run):
    return partial(run, "inspect")


def make_events(mothers: list[int], counts: list[int] | None = None) -> Events:
    """Pions of 1 GeV with these mothers, in one event or several."""
    n = len(mothers)
    particles = {name: np.zeros(n, dtype) for name, dtype in PARTICLE_COLUMNS.items()}
    particles["pdg"][:] = 211
    particles["energy"][:] = 1.0
    particles["mother_index"][:] = mothers
    sizes = [n] if counts is None else counts
    numbers = np.arange(len(sizes), dtype=np.int64)
    return Events(
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        particles=particles,
        experiment=numbers * 0,
        run=numbers * 0,
        production=numbers * 0,
        event=numbers,
        event_type=np.full(len(sizes), -1, np.int8),
        entry=numbers,
    )


# Events


def test_inspect_events_equals_plain_counts(inspect, example):
    code, out, _ = inspect(example, "--json")
    assert code == 0
    document = json.loads(out)
    events = open_events(example).read()
    dropped = find_dropped(events)
    stable, kept = [], []
    for i in range(len(events)):
        rows = range(events.offsets[i], events.offsets[i + 1])
        stable.append(sum(bool(events["status"][row] & 2) for row in rows))
        kept.append(sum(dropped[row] == 0 for row in rows))
    assert document["format"] == "mdst ROOT"
    assert document["provenance"]["command"] == "generate"
    assert document["event_types"] == {"mixed": len(events)}
    assert document["n_dropped"] == {"vertex": int((dropped == 2).sum())}
    assert document["stored_per_event"] is None
    for name, values in (("stable", stable), ("nodes", kept)):
        spread = document[f"{name}_per_event"]
        assert spread["mean"] == pytest.approx(sum(values) / len(values))
        assert (spread["min"], spread["max"]) == (min(values), max(values))
        assert spread["median"] == sorted(values)[len(values) // 2]


def test_inspect_events_text_has_the_same_numbers(inspect, example):
    _, out, _ = inspect(example)
    assert "mdst ROOT" in out
    assert "dropped: vertex" in out
    assert "1,370" in out


def test_inspect_real_file_names_its_release_and_secondaries(inspect, shared_data):
    path = shared_data / "mdst" / "mdst-v09-00-00.root"
    code, out, _ = inspect(path, "--json")
    assert code == 0
    document = json.loads(out)
    assert document["release"] == "release-09-00-00"
    assert document["metadata"]["n_generated"] == 10
    stored = open_events(path, keep_secondaries=True).read().counts
    assert document["stored_per_event"]["max"] == stored.max()
    assert document["stored_per_event"]["max"] > document["particles_per_event"]["max"]


def test_inspect_model_option_decides_the_preparation(inspect, example, tmp_path):
    code, out, _ = inspect(example, "--model", "subtree", "--json")
    assert code == 0
    assert json.loads(out)["preset"] == "smart_background"
    assert inspect(example, "--model", tmp_path / "none.pt")[0] == 4


def test_read_origin_without_metadata_knows_the_format(tmp_path):
    with MdstWriter(tmp_path / "a.root") as writer:
        writer.write(make_events([-1]))
    origin = read_origin(str(tmp_path / "a.root"))
    assert origin.format == "mdst ROOT"
    assert origin.metadata == {"n_generated": 1}
    assert not origin.is_ours


def test_count_events_reasons_types_and_unknown_codes():
    events = make_events([-1, 0, 1, 0, -1], counts=[2, 2, 0, 1])
    events.particles["pdg"][4] = 987_654_321
    contents = count_events([events])
    assert contents.n_events == 4
    assert contents.unscorable == {"mother loop": 1, "no node": 1}
    assert contents.n_unknown_codes == 1
    assert contents.event_types == {"unknown": 4}
    assert contents.multiplicities["nodes"].tolist() == [2, 0, 0, 1]


def test_count_events_of_nothing_is_empty(inspect, tmp_path):
    contents = count_events([])
    assert contents.n_events == 0
    assert summarise(contents.multiplicities["particles"]) == {}
    with MdstWriter(tmp_path / "empty.root"):
        pass
    code, out, _ = inspect(tmp_path / "empty.root", "--json")
    assert code == 0
    assert json.loads(out)["particles_per_event"] == {}
    assert inspect(tmp_path / "empty.root")[0] == 0


# Scores


@pytest.fixture(scope="session")
def scores(example, tmp_path_factory):
    output = tmp_path_factory.mktemp("scores") / "scores.parquet"
    with pytest.raises(SystemExit) as stop:
        main(["score", str(example), "-o", str(output), "--mode", "sample"])
    assert not stop.value.code
    return output


def test_inspect_scores_histograms_equal_a_plain_loop(inspect, scores):
    code, out, _ = inspect(scores, "--json")
    assert code == 0
    document = json.loads(out)
    table = read_scores(scores)
    assert document["n_kept"] == int(table["keep"].sum())
    assert list(document["histograms"]["skims"]) == list(table.skims)
    filled = document["histograms"]["skims"][SKIM]
    for name, edges, rows in (
        ("scores", SCORE_EDGES, range(len(table))),
        ("weights", WEIGHT_EDGES, np.flatnonzero(table["keep"])),
    ):
        values = table[f"{name[:-1]}_{SKIM}"]
        expected: Counter[tuple[str, int]] = Counter()
        for row in rows:
            place = sum(values[row] >= edge for edge in edges) - 1
            kind = EVENT_TYPES[table["event_type"][row]]
            expected[kind, min(max(place, 0), len(edges) - 2)] += 1
        found = {
            (kind, k): n
            for kind, row in filled[name].items()
            for k, n in enumerate(row)
            if n
        }
        assert found == expected
    weight = table[f"weight_{SKIM}"]
    assert document["n_eff"][SKIM] == pytest.approx(
        weight.sum() ** 2 / (weight * weight).sum()
    )
    assert document["mean_score"][SKIM] == pytest.approx(
        np.mean(table[f"score_{SKIM}"].astype(float))
    )


def test_inspect_scores_draws_the_skim_that_is_named(inspect, scores):
    code, out, _ = inspect(scores, "--skim", SKIM)
    assert code == 0
    assert f"{SKIM}, mixed: pass probability of 400 events" in out
    n_kept = int(read_scores(scores)["keep"].sum())
    assert f"{SKIM}, mixed: weights of {n_kept} kept events" in out
    assert "█" in out
    code, _, err = inspect(scores, "--skim", "feiHadronic0")
    assert code == 2
    assert "expected --skim to be one of" in err


def test_count_scores_reads_root_as_parquet(scores, example, tmp_path):
    output = tmp_path / "scores.root"
    with pytest.raises(SystemExit):
        main(["score", str(example), "-o", str(output), "--mode", "sample"])
    one, other = (count_scores(ScoreFile(path), SKIM) for path in (scores, output))
    assert one.mean_score == other.mean_score
    assert one.weights["mixed"].tolist() == other.weights["mixed"].tolist()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, ""), (8, "████"), (4, "██"), (5, "██▌"), (1e-9, "▏"), (99, "████")],
)
def test_make_bar_in_eighths(value, expected):
    assert make_bar(value, 8, 4) == expected


def test_make_bar_plain_and_empty():
    assert make_bar(1, 8, 4, plain=True) == "#"
    assert make_bar(8, 8, 4, plain=True) == "####"
    assert make_bar(3, 0, 4) == ""


def test_histogram_is_plain_where_the_terminal_is(tmp_path):
    with (tmp_path / "out").open("w", encoding="ascii") as stream:
        Console(file=stream, width=30).print(Histogram("t", ["a", "b"], [1, 20_000]))
    lines = (tmp_path / "out").read_text().splitlines()
    assert lines[:3] == ["t", "  a       1  #", "  b  20,000  " + "#" * 17]
    assert max(map(len, lines)) <= 30


# Objects and models


def test_inspect_objects_counts_tracks_and_clusters(inspect, example, tmp_path):
    events = tmp_path / "few.root"
    with MdstWriter(events) as writer:
        writer.write(open_events(example).read().take(range(12)))
    labelled, objects = tmp_path / "labelled.parquet", tmp_path / "objects.parquet"
    with pytest.raises(SystemExit) as stop:
        main(["simulate", str(events), "-o", str(labelled), "--objects", str(objects)])
    assert not stop.value.code
    code, out, _ = inspect(objects, "--json")
    assert code == 0
    document = json.loads(out[out.index('{\n  "schema_version": 1,\n  "path"') :])
    tracks, clusters = [], []
    for block in open_objects(objects).iterate(5):
        tracks += np.diff(block.detected.tracks.offsets).tolist()
        clusters += np.diff(block.detected.clusters.offsets).tolist()
    assert document["n_events"] == len(tracks) == 12
    assert document["event_types"] == {"mixed": 12}
    assert document["tracks_per_event"] == summarise(np.array(tracks))
    assert document["clusters_per_event"] == summarise(np.array(clusters))
    assert document["provenance"]["command"] == "simulate"
    code, out, _ = inspect(labelled, "--json")
    assert json.loads(out)["provenance"]["command"] == "simulate"


@pytest.mark.parametrize("name", ["gcn", "subtree"])
def test_inspect_shipped_model_by_name_has_the_whole_document(
    inspect, name, monkeypatch
):
    code, out, _ = inspect(name, "--json")
    assert code == 0
    document = json.loads(out)
    info, digest = read_model_info(find_model(name))
    stored = json.loads(info.to_json())
    assert document["digest"] == digest
    for key in ("training", "settings", "vocabulary", "event_types", "preset"):
        assert document[key] == stored[key]
    constants = {s["name"]: s["calibration"] for s in stored["skims"]}
    assert document["calibration"] == constants


def test_inspect_model_text_has_metrics_and_provenance(inspect):
    code, out, _ = inspect("subtree")
    assert code == 0
    info, _ = read_model_info(find_model("subtree"))
    metrics = info.training["metrics"][SKIM]
    line = next(text for text in out.splitlines() if SKIM in text)
    assert f"{metrics['auc']:.4f}±{metrics['auc_error']:.4f}" in line
    assert f"{len(info.training['files'])}: {info.training['files'][0]} to" in out
    assert "config.learning_rate" in out


def test_inspect_unknown_name_lists_the_shipped_models(inspect):
    code, _, err = inspect("subtre")
    assert code == 3
    assert "expected a file or a shipped model (gcn, subtree)" in err


# Wrong options


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "tree.svg"], "name it with --event"),
        (["--event", "0", "-o", "tree.jpg"], "ends in .svg, .png, .pdf"),
        (["--skim", SKIM], "--skim goes with a score file"),
        (["--event", "0", "-o", "none/tree.svg"], "expected an existing folder"),
    ],
)
def test_inspect_events_wrong_options_are_usage_errors(
    inspect, example, arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, _, err = inspect(example, *arguments)
    assert code == 2
    assert message in err
    assert not list(tmp_path.iterdir())


def test_inspect_event_of_other_files_is_a_usage_error(inspect, scores):
    assert inspect("gcn", "--event", 0)[0] == 2
    assert inspect(scores, "--event", 0)[0] == 2
    assert inspect(scores, "--model", "gcn")[0] == 2
