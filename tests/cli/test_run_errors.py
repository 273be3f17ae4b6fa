"""`persona-tui run errors`: what failed, with what to do."""

from __future__ import annotations

import json

import pytest

from persona_tui.resources import Resources
from persona_tui.services.generation import jobs
from persona_tui.settings import load_settings
from tests.cli.conftest import Shell
from tests.cli.test_commands import told
from tests.database.growing import add_run, take


@pytest.mark.long
def test_what_failed_is_told_with_what_to_do(shell: Shell) -> None:
    assert "Nothing failed." in shell("run", "errors").out
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shell.environment.items():
            patch.setenv(name, value)
        with Resources.open(load_settings()) as opened, opened.database.session_scope() as session:
            run = add_run(session, name="Bowl")
            (job,) = take(session, 1)
            jobs.fail(session, job, "CUDA out of memory", jobs.RetryPolicy(failures=1))
    for arguments in (("run", "errors"), ("run", "errors", str(run.id))):
        words = shell(*arguments).out
        assert "CUDA out of memory" in words and "→ The card's memory was full" in words
        assert f"job {job.id} of run {run.id}, Bowl" in words and "given up" in words
    (found,) = json.loads(shell("run", "errors", "--json").out)
    assert (found["run_id"], found["place"], found["words"]) == (run.id, "failed", "CUDA out of memory")
    assert found["advice"].startswith("The card's memory was full")
    assert "There is no run 999." in told(shell, 2, "run", "errors", "999")
