"""A SLURM that runs every job on this computer at once: what Snakemake asks of it, and no more.

``python fake_slurm.py COMMAND …`` stands for the command; `commands` makes a folder of them for PATH. What was
submitted is kept in that folder, for tests to look at. A job is ended as out of memory where its comment has the words
in ``FAKE_SLURM_HUNGRY`` and it asked for less than ``FAKE_SLURM_NEEDS`` MB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

_COMMANDS = ("sbatch", "sacct", "srun", "sinfo", "scancel", "scontrol")


def commands(folder: Path) -> dict[str, str]:
    """Make the commands, and return the environment in which they are found."""
    folder.mkdir()
    for name in _COMMANDS:
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(folder)}


def submitted(folder: Path) -> list[dict[str, Any]]:
    """Return the options of all jobs in the order they came, and how they ended."""
    found = []
    for file in sorted(folder.glob("*.json"), key=lambda file: int(file.stem)):
        found.append({**json.loads(file.read_text()), "state": file.with_suffix(".state").read_text()})
    return found


def _options(arguments: list[str]) -> dict[str, Any]:
    parser = ArgumentParser()
    for name in ("job-name", "output", "export", "comment", "ntasks", "cpus-per-task", "mem", "gres", "wrap"):
        parser.add_argument(f"--{name}")
    for name, long in (("-A", "account"), ("-p", "partition"), ("-t", "minutes"), ("-D", "folder"), ("-c", "cpus")):
        parser.add_argument(name, dest=long)
    parser.add_argument("--cpus-per-gpu")
    parser.add_argument("--parsable", action="store_true")
    return {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}


def _sbatch(arguments: list[str]) -> None:
    home = Path(os.environ["FAKE_SLURM"])
    options = _options(arguments)
    for number in count(1):
        file = home / f"{number}.json"
        with suppress(FileExistsError), file.open("x") as new:  # several are submitted at once
            json.dump(options, new)
            break
    _state(file, "RUNNING")
    with Path(options["output"].replace("%j", str(number))).open("wb") as log:
        subprocess.Popen([sys.executable, __file__, "job", str(file)], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    print(number)


def _job(arguments: list[str]) -> None:
    file = Path(arguments[0])
    options = json.loads(file.read_text())
    hungry = os.environ.get("FAKE_SLURM_HUNGRY")
    if hungry and hungry in options["comment"] and int(options["mem"]) < int(os.environ["FAKE_SLURM_NEEDS"]):
        _state(file, "OUT_OF_MEMORY")
        return
    environment = {**os.environ, "SLURM_JOB_ID": file.stem}
    code = subprocess.run(options["wrap"], shell=True, cwd=options["folder"], env=environment, check=False).returncode
    _state(file, "FAILED" if code else "COMPLETED")


def _state(file: Path, state: str) -> None:
    whole = file.with_suffix(".new")
    whole.write_text(state)
    whole.replace(file.with_suffix(".state"))


def _sacct(arguments: list[str]) -> None:
    if any("Account" in each for each in arguments):
        print("none")
        return
    for file in Path(os.environ["FAKE_SLURM"]).glob("*.state"):
        print(f"{file.stem}|{file.read_text()}")


def _srun(arguments: list[str]) -> None:
    command = next(place for place, each in enumerate(arguments) if not each.startswith("-"))
    os.execvp(arguments[command], arguments[command:])


if __name__ == "__main__":
    does = {"sbatch": _sbatch, "job": _job, "sacct": _sacct, "srun": _srun}.get(sys.argv[1])
    if does is not None:
        does(sys.argv[2:])
