"""Manners of the command line: spelling, colours, progress, completion, widths."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from smartfilter.cli import COMMANDS, cli, main
from smartfilter.cli.completion import complete_skims
from smartfilter.cli.options import Choice
from smartfilter.cli.terminal import make_table, show_steps
from smartfilter.errors import UsageError, describe_unknown, suggest
from smartfilter.models import build
from smartfilter.presets import get_preset
from smartfilter.shipped import DEFAULT_MODEL
from smartfilter.training.config import read_config

CALL = "from smartfilter.cli import main; main()"
SCORE = ["score", "examples/events.root"]


def start(*arguments: str, root: Path, **variables: str) -> tuple[str, str]:
    """Run a command in a pipe; return what it prints on stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-c", CALL, *arguments],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, **variables},
        check=False,
    )
    return done.stdout, done.stderr


def start_on_terminal(*arguments: str, root: Path, **variables: str) -> str:
    """Run a command on a pseudo-terminal; return all that a person would see."""
    leader, follower = pty.openpty()
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "COLUMNS": "100",
        **variables,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", CALL, *arguments],
        stdout=follower,
        stderr=follower,
        stdin=follower,
        cwd=root,
        env=environment,
    )
    os.close(follower)
    seen = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not part:
            break
        seen += part
    os.close(leader)
    assert process.wait() == 0, seen.decode()
    return seen.decode()


def test_files_and_tables_do_not_depend_on_the_locale(project_root, tmp_path):
    """In an ASCII locale '±' ended a table, and any file with it, in a traceback."""
    ascii_only = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    point = tmp_path / "point.json"
    config = tmp_path / "config.yaml"
    config.write_text("network: gcn  # ±\nepochs: 0\n", encoding="utf-8")
    times = ("--t-g", "0.2", "--t-n", "0.1", "--t-s", "25")
    scores = str(tmp_path / "scores.parquet")
    start(*SCORE, "-o", scores, root=project_root)
    for arguments in (
        ("inspect", "gcn"),
        ("working-point", scores, *times, "-o", str(point)),
        (*SCORE, "--mode", "sample", "--working-point", str(point)),
    ):
        out, err = start(*arguments, root=project_root, **ascii_only)
        assert out.isascii()
        assert len(out.splitlines()) > 5, err
        assert "Error" not in err
        if arguments[0] == "working-point":
            text = point.read_text(encoding="utf-8")
            point.write_text(text.replace("{", '{"note": "±", ', 1), encoding="utf-8")
    train = ("train", "nothing.parquet", "-o", "a.pt", "--config", str(config))
    _, err = start(*train, root=project_root, **ascii_only)
    assert err.startswith("Error: configuration ")
    assert "epochs" in err


@pytest.mark.parametrize(
    ("name", "known", "nearest"),
    [
        ("scroe", COMMANDS, "score"),
        ("FEIHADRONICB0", ["feiHadronicB0", "feiHadronicBplus"], "feiHadronicB0"),
        ("mixd", ["mixed", "charged"], "mixed"),
    ],
)
def test_suggest_names_the_nearest_whatever_the_case(name, known, nearest):
    assert suggest(name, known) == f"; did you mean '{nearest}'?"
    assert describe_unknown("thing", name, known, "a.pt").endswith(
        f" in a.pt, got '{name}'; did you mean '{nearest}'?"
    )


def test_suggest_is_silent_where_nothing_is_near():
    assert suggest("zzz", ["score"]) == ""
    assert suggest("", []) == ""


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["scroe"], "score"),
        ([*SCORE, "--skim", "feihadronicB0"], "feiHadronicB0"),
        ([*SCORE, "--event-type", "mixd"], "mixed"),
        ([*SCORE, "--mode", "sampel"], "sample"),
        ([*SCORE, "--model", "subtre"], "subtree"),
        (["score", "examples/event.root"], "events.root"),
        (["train", "a.parquet", "-o", "a.pt", "--config", "gcn-singel"], "gcn-single"),
        (["measure", "-n", "5", "--skim", "InclusivLambda"], "InclusiveLambda"),
    ],
)
def test_wrong_spelling_is_answered_with_the_nearest(
    arguments, nearest, project_root, monkeypatch, capfd
):
    monkeypatch.chdir(project_root)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code != 0
    assert f"did you mean '{nearest}'?" in capfd.readouterr().err


def test_wrong_option_is_answered_with_the_nearest(capfd):
    with pytest.raises(SystemExit):
        main([*SCORE, "--treshold", "0.1"])
    assert "--threshold" in capfd.readouterr().err


def test_wrong_names_in_a_configuration_are_answered_with_the_nearest(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("network: gcn\nbatchsize: 7\n")
    with pytest.raises(UsageError, match="did you mean 'batch_size'"):
        read_config(file)
    with pytest.raises(UsageError, match="did you mean 'transformer'"):
        build("tranformer")
    with pytest.raises(UsageError, match="did you mean 'n_units'"):
        build("gcn", n_features=8, n_tokens=3, nunits=5)
    with pytest.raises(UsageError, match="did you mean 'smart_background'"):
        get_preset("smartbackground")


def test_choice_accepts_its_names_alone():
    choice = Choice(["mock", "geant4"])
    assert choice.convert("geant4", None, None) == "geant4"
    with pytest.raises(click.BadParameter, match="did you mean 'geant4'"):
        choice.convert("geant", None, None)


def test_pipe_gets_tables_without_colours_or_bars(project_root):
    out, err = start(*SCORE, root=project_root)
    assert "events/s" in out
    assert err == ""
    assert "\x1b" not in out
    assert "\r" not in out


def test_terminal_gets_a_bar_with_rate_and_remaining_time(project_root):
    seen = start_on_terminal(*SCORE, root=project_root)
    assert "400/400" in seen
    assert re.search(r"[\d,]+ events/s", seen)
    assert re.search(r"\d:\d\d:\d\d", seen)


def test_no_color_on_a_terminal_leaves_no_colour(project_root):
    """Bold and cursor movements stay; SGR codes 30 to 49 and 90 to 107 are colours."""
    colour = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d|10\d)(?:;\d+)*m")
    assert colour.search(start_on_terminal(*SCORE, root=project_root))
    seen = start_on_terminal(*SCORE, root=project_root, NO_COLOR="1")
    assert not colour.search(seen)


def test_narrow_table_loses_no_digit():
    from rich.console import Console

    table = make_table("title", ("", "AUC"), [("mixed", "0.7218±0.0402")])
    console = Console(width=14)
    with console.capture() as capture:
        console.print(table)
    assert "…" not in capture.get()
    assert sum(c.isdigit() for c in capture.get()) == 10


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("smartfilter wor", "plain,working-point"),
        ("smartfilter score examples/ev", "file,examples/ev"),
        ("smartfilter score --model sub", "plain,subtree"),
        ("smartfilter score --model my", "file,my"),
        ("smartfilter train --config lab_report/opt", "plain,lab_report/optimal"),
        ("smartfilter generate --event-type ta", "plain,taupair"),
        ("smartfilter score --thresh", "plain,--threshold"),
        ("smartfilter inspect examples/ev", "file,examples/ev"),
        ("smartfilter inspect sub", "plain,subtree"),
        ("smartfilter inspect --model sub", "plain,subtree"),
        ("smartfilter evaluate gc", "plain,gcn"),
        ("smartfilter evaluate gcn ow", "file,ow"),
        ("smartfilter rebuild gc", "plain,gcn"),
        ("smartfilter score --skim feiHadronicB0", "plain,feiHadronicB0"),
        ("smartfilter score --model subtree --skim Inc", "plain,InclusiveLambda"),
        ("smartfilter score --model none.pt --skim Inc", ""),
        ("smartfilter measure --detector g", "plain,geant4"),
        ("smartfilter measure --device c", "plain,cuda"),
        ("smartfilter export gcn --skim-code Incl", "plain,InclusiveLambda="),
        ("smartfilter speedup scores", "file,scores"),
        ("smartfilter skim objects.parquet --events la", "file,la"),
        ("smartfilter report out", "dir,out"),
    ],
)
def test_shell_completion_completes(words, expected, monkeypatch, capfd):
    monkeypatch.setenv("_SMARTFILTER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    with pytest.raises(SystemExit):
        main([])
    assert expected in capfd.readouterr().out.splitlines()


def test_shell_completion_of_a_name_does_not_hide_files(tmp_path, monkeypatch, capfd):
    (tmp_path / "gcn-of-mine.pt").touch()
    (tmp_path / "gcn").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("_SMARTFILTER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "smartfilter inspect gc")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit):
        main([])
    found = capfd.readouterr().out.splitlines()
    assert found == ["plain,gcn", "plain,gcn/", "plain,gcn-of-mine.pt"]


def test_shell_completion_without_a_model_takes_the_default_one(
    count_model, monkeypatch
):
    monkeypatch.setattr(
        "smartfilter.cli.completion.find_shipped", lambda: {DEFAULT_MODEL: count_model}
    )
    context = click.Context(click.Command("score"))
    found = complete_skims(context, click.Option(["--skim"]), "")
    assert [item.value for item in found] == ["feiHadronicB0"]


@pytest.mark.parametrize("name", ["score", "measure", "inspect", "working-point"])
def test_help_names_the_model_that_is_taken_where_none_is_named(name):
    text = CliRunner().invoke(cli, [name, "--help"]).output
    assert f"[{DEFAULT_MODEL}]" in text


def test_every_parameter_that_names_something_is_completed():
    """Files, models, configurations, skims, devices: all but free text and numbers."""
    free = {"seed"}
    numbers = (click.types.IntRange, click.types.FloatRange, click.types.BoolParamType)
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter.type, (click.Path, click.Choice, *numbers)):
                continue
            told = parameter._custom_shell_complete is not None
            assert told or parameter.name in free, f"{name} {parameter.name}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_script_is_printed(shell, project_root):
    if shell == "bash" and not Path("/bin/bash").exists():
        pytest.skip("click asks bash for its version")
    variable = {"_SMARTFILTER_COMPLETE": f"{shell}_source"}
    out, err = start(root=project_root, **variable)
    assert "smartfilter" in out
    assert err == ""


def test_each_step_of_a_long_command_has_its_bar(project_root, tmp_path):
    folder = str(tmp_path)
    start(*SCORE, "-o", f"{folder}/s.parquet", root=project_root)
    merge = ["merge", f"{folder}/s.parquet", "-o", f"{folder}/all.parquet"]
    seen = start_on_terminal(*merge, root=project_root)
    for step, n_rows in (("verify", 400), ("compare", 800), ("write", 400)):
        assert step in seen
        assert f"{n_rows}/{n_rows}" in seen
    assert re.search(r"[\d,]+ rows/s", seen)
    seen = start_on_terminal("inspect", f"{folder}/s.parquet", root=project_root)
    assert "4400/4400" in seen
    point = ["working-point", f"{folder}/s.parquet", "--skim", "feiHadronicB0"]
    seen = start_on_terminal(*point, root=project_root)
    assert "400/400" in seen
    assert "1/1" in seen


def test_steps_in_a_pipe_say_nothing(capsys):
    with show_steps() as begin:
        begin("one", None)
        advance = begin("two", 3, "skims")
        for _ in range(3):
            advance(1)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == ""
