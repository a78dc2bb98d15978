"""Commands run as a user runs them, in this process."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner, Result

from napari_st2msi.cli.app import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def result(*arguments: object) -> dict[str, Any]:
    """Run something that works, and return the facts it prints as JSON."""
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert isinstance(facts, dict)
    return facts


def refused(*arguments: object) -> str:
    """Run something that cannot work, and return the message: no traceback, exit code 2."""
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    assert done.stdout == ""
    return " ".join(done.stderr.split())
