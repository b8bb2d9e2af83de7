"""Run a smartfilter command on the workers of an HTCondor farm.

Starts a Dask scheduler here, asks HTCondor for workers, runs the command with ``--dask`` and
gives the workers back. They take up work as their jobs start; what an evicted one was at
goes to others.

    python htcondor.py --jobs 50 -- smartfilter score 'gen/*.root' -o scores.parquet --resume
    python htcondor.py --jobs 50 -- smartfilter produce -n 1000000 --event-type mixed -o data

Files, environment and the folder of ``--logs`` have to be on a file system that the farm sees.
Scheduler, workers and command talk encrypted, with a key of this run. Without a command the
job description is printed and nothing is submitted; ``--local`` runs the jobs as processes
here, to try it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from dask_jobqueue.htcondor import HTCondorCluster
from dask_jobqueue.local import LocalCluster
from distributed.security import Security


def make_cluster(options: argparse.Namespace, security: Security) -> Any:
    """Return a cluster without workers: a scheduler, and how to ask for jobs."""
    settings: dict[str, Any] = {
        "cores": 1,
        "memory": options.memory,
        "python": sys.executable,
        "log_directory": str(options.logs),
        "shared_temp_directory": str(options.logs),
        "scheduler_options": {"dashboard_address": "127.0.0.1:0"},
        "security": security,
    }
    if options.local:
        return LocalCluster(**settings)
    # A worker that leaves by itself hands its work over; an evicted one loses minutes.
    lifetime = ["--lifetime", f"{options.hours}h", "--lifetime-stagger", "5m"]
    return HTCondorCluster(
        **settings,
        disk=options.disk,
        worker_extra_args=lifetime,
        job_extra_directives={"+MaxRuntime": str(3600 * options.hours + 1800)},
    )


def write_keys(security: Security, folder: Path) -> dict[str, str]:
    """Return the environment with which a command can talk to the scheduler."""
    keys = security.get_tls_config_for_role("client")
    names = {
        "ca_file": "CA_FILE",
        "cert": "CLIENT__CERT",
        "key": "CLIENT__KEY",
    }
    environment = dict(os.environ)
    for name, variable in names.items():
        path = folder / name
        path.write_text(keys[name], encoding="utf-8")
        environment[f"DASK_DISTRIBUTED__COMM__TLS__{variable}"] = str(path)
    return environment


def main() -> int:
    """Print the job description, or run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=10, help="workers to ask for")
    parser.add_argument("--memory", default="2GB", help="of a worker")
    parser.add_argument("--disk", default="1GB", help="of a worker")
    parser.add_argument("--hours", type=int, default=12, help="of a worker")
    parser.add_argument(
        "--logs", type=Path, default=Path("dask-logs"), help="folder of the logs"
    )
    parser.add_argument("--local", action="store_true", help="processes here, no jobs")
    parser.add_argument("command", nargs="*", help="smartfilter ...")
    options = parser.parse_args()
    if options.command and not options.local and shutil.which("condor_submit") is None:
        parser.error(
            "no condor_submit here: start it where jobs are submitted, or --local"
        )
    options.logs.mkdir(exist_ok=True)
    security = Security.temporary()
    with (
        tempfile.TemporaryDirectory(prefix="smartfilter-keys-") as folder,
        make_cluster(options, security) as cluster,
    ):
        if not options.command:
            print(cluster.job_script())
            return 0
        cluster.scale(jobs=options.jobs)
        command = [*options.command, "--dask", cluster.scheduler_address]
        environment = write_keys(security, Path(folder))
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
