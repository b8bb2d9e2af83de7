"""The process in which `fuzz.py` runs commands: one line of JSON in, one line out.

Address space is limited, so that what asks for too much memory fails here and not the
machine; a file that hangs or ends the interpreter costs this process alone.
"""

from __future__ import annotations

import faulthandler
import hashlib
import io
import json
import os
import re
import resource
import shutil
import stat
import sys
import traceback
import warnings
from contextlib import redirect_stderr, redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "run_command"]

_MIB = 1 << 20
_VOLATILE = {
    "events_per_second",
    "seconds",
    "path",
    "output",
    "model",
    "model_digest",
    "device",
    "files",
}
_LEVELS = ("Error: ", "WARNING: ", "INFO: ")


def _read_status(key: str) -> int:
    """Return a line of ``/proc/self/status`` that is a size, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return 1024 * int(value.split()[0])
    return 0


def _reset_peak() -> int:
    """Restart the count of the largest resident memory, and return the present one."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return _read_status("VmRSS")


def _limit_memory(more: int) -> None:
    limit = _read_status("VmSize") + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _keep_default_model() -> None:
    """Read the shipped model once: it is not what is damaged."""
    from smartfilter import scoring
    from smartfilter.model_file import LoadedModel, default_model_path, load_model

    default = default_model_path()
    cached = lru_cache(load_model)

    def load(path: Any, device: Any = "cpu") -> LoadedModel:
        return cached(path, device) if path == default else load_model(path, device)

    scoring.load_model = load


def _without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_volatile(v) for k, v in value.items() if k not in _VOLATILE}
    return value


def _fingerprint(stdout: str, output: Path | None) -> str:
    """Return a digest of what a command found, without times and paths."""
    document = _without_volatile(json.loads(stdout))
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    if output is not None:
        from smartfilter.io import read_scores

        table = read_scores(output)
        if len(table) != document["n_events"]:
            raise AssertionError(f"{len(table)} rows, {document['n_events']} events")
        for name, column in table.columns.items():
            if name != "file":
                digest.update(column.tobytes())
    return digest.hexdigest()


def _judge_text(stderr: str, code: int) -> str | None:
    """Return what is wrong with the messages of a command, if anything."""
    lines = stderr.splitlines()
    errors = [line for line in lines if line.startswith("Error: ")]
    if not all(line.startswith(_LEVELS) for line in lines):
        return "noise"
    return None if len(errors) == (code != 0) else "not one sentence"


def _read_log() -> str:
    """Return what libraries in C and C++ wrote to the process's own stderr."""
    size = os.fstat(2).st_size if stat.S_ISREG(os.fstat(2).st_mode) else 0
    written = os.pread(2, size, 0).decode(errors="replace") if size else ""
    if size:
        os.ftruncate(2, 0)
    return written


def _is_talk(line: str, talk: str) -> bool:
    return not line.strip() or (talk != "" and re.fullmatch(talk, line) is not None)


def run_command(
    arguments: list[str],
    output: Path | None,
    refusals: Sequence[int],
    talk: str = "",
) -> dict[str, Any]:
    """Run a command and judge how it ended."""
    from smartfilter.cli import main as smartfilter

    stdout, stderr, code = io.StringIO(), io.StringIO(), -1
    try:
        with redirect_stdout(stdout), redirect_stderr(stderr):
            smartfilter(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:  # noqa: BLE001  a traceback is what this looks for
        return {"outcome": "traceback", "text": traceback.format_exc()}
    said = [line for line in _read_log().splitlines() if not _is_talk(line, talk)]
    text = "\n".join([stderr.getvalue().strip(), *said]).strip()
    verdict = _judge_text(text, code)
    left = [] if output is None else sorted(p.name for p in output.parent.iterdir())
    if code not in (0, *refusals):
        verdict = f"exit code {code}"
    elif left != ([output.name] if output is not None and code == 0 else []):
        verdict, text = "partial output", ", ".join(left)
    if verdict is not None:
        return {"outcome": verdict, "text": text}
    if code:
        return {"outcome": "refused", "text": text}
    return {"outcome": "valid", "fingerprint": _fingerprint(stdout.getvalue(), output)}


def _answer(job: dict[str, Any]) -> dict[str, Any]:
    output = None if job["output"] is None else Path(job["output"])
    before = _reset_peak()
    faulthandler.dump_traceback_later(job["seconds"])
    answer = run_command(job["arguments"], output, job["refusals"], job["talk"])
    faulthandler.cancel_dump_traceback_later()
    answer["memory"] = max(0, _read_status("VmHWM") - before) // _MIB
    if output is not None:
        shutil.rmtree(output.parent)
        output.parent.mkdir()
    return answer


def main() -> None:
    """Answer jobs until the input ends."""
    import logging

    channel = os.fdopen(os.dup(1), "w", buffering=1)
    log = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    warnings.simplefilter("always")
    faulthandler.enable()
    import torch

    torch.set_num_threads(1)
    _keep_default_model()
    limit = int(sys.argv[1]) * _MIB
    for number, line in enumerate(sys.stdin):
        if number == 1:  # the first job is an intact file, which loads all libraries
            _limit_memory(limit)
        logging.getLogger().handlers.clear()  # they hold the last job's stderr
        channel.write(json.dumps(_answer(json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
