"""One table of actions per screen; together they are everything that a key can do."""

from __future__ import annotations

from collections.abc import Mapping

from persona_tui.actions import (
    accounts,
    clusters,
    compare,
    dashboard,
    gallery,
    grids,
    ideas,
    jobs,
    loras,
    personas,
    pipelines,
    posts,
    runs,
    settings,
    training,
    viewer,
    vote,
)
from persona_tui.actions.modes import DASHBOARD, MODES, SIDE_VIEWS, Mode, find_mode
from persona_tui.actions.registry import GLOBAL, Action, Registry, Table, bindings, by_scope
from persona_tui.actions.shell import SHELL_TABLES

SCREEN_TABLES = (
    dashboard.TABLE,
    personas.TABLE,
    ideas.TABLE,
    runs.TABLE,
    pipelines.TABLE,
    vote.TABLE,
    gallery.TABLE,
    clusters.TABLE,
    posts.TABLE,
    accounts.TABLE,
    training.TABLE,
    loras.TABLE,
    jobs.TABLE,
    settings.TABLE,
)

TABLES: Mapping[str, Table] = by_scope(
    (
        *SHELL_TABLES,
        grids.TABLE,
        viewer.TABLE,
        runs.TROUBLE,
        runs.WIZARD,
        gallery.BRANCHES,
        clusters.FOLDS,
        clusters.FILTER,
        compare.COMPARE,
        training.PLAN,
        compare.WINNERS,
        posts.OVERDUE,
        loras.BLIND,
        *SCREEN_TABLES,
    )
)
"""Every table by scope."""

__all__ = [
    "DASHBOARD",
    "GLOBAL",
    "MODES",
    "SCREEN_TABLES",
    "SIDE_VIEWS",
    "TABLES",
    "Action",
    "Mode",
    "Registry",
    "Table",
    "bindings",
    "find_mode",
]
