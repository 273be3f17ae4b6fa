"""How every benchmark prints: a table to read, then one line of JSON, and exit 1 on a missed target."""

from __future__ import annotations

import argparse
import json
import operator
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Op = Literal["<=", "<", ">=", ">", "=="]

_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
}


@dataclass(frozen=True)
class Figure:
    """One measured claim.

    Attributes:
        name: what was measured.
        value: the measurement, in `unit`.
        op: how the value must stand to the target.
        target: what is claimed; None only reports the value.
        baseline: the alternative's value in the same run, in its own unit; None where there is none.
        full: means something only at full size, so a quick run shows it without judging it.
    """

    name: str
    value: float
    unit: str
    op: Op = "<="
    target: float | None = None
    baseline: float | None = None
    full: bool = False

    @property
    def ok(self) -> bool:
        """Whether the target is met; without one, yes."""
        return self.target is None or _HOLDS[self.op](self.value, self.target)


@dataclass
class Report:
    """What one script found out.

    Attributes:
        name: of the benchmark.
        quick: smaller sizes were used.
    """

    name: str
    quick: bool
    figures: list[Figure] = field(default_factory=list)

    def add(self, figure: Figure) -> None:
        """Note one figure."""
        self.figures.append(figure)

    def finish(self) -> None:
        """Print everything.

        Raises:
            SystemExit: with 1, if a target that counts in this run was missed.
        """
        print(f"{self.name}{' (quick)' if self.quick else ''}: {machine()}\n")
        print("\n".join(self._table()), end="\n\n")
        print(json.dumps(self._document(), ensure_ascii=False), flush=True)
        if not all(figure.ok for figure in self.figures if self._counts(figure)):
            sys.exit(1)

    def _counts(self, figure: Figure) -> bool:
        return not (self.quick and figure.full)

    def _table(self) -> list[str]:
        rows = [("figure", "value", "target", "baseline", "")]
        rows += [self._row(figure) for figure in self.figures]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            "  ".join(
                cell.ljust(width) if place in (0, 4) else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]

    def _row(self, figure: Figure) -> tuple[str, str, str, str, str]:
        target = "" if figure.target is None else f"{figure.op} {_shown(figure.target)}"
        baseline = "" if figure.baseline is None else _shown(figure.baseline)
        verdict = "" if figure.target is None else "✅ met" if figure.ok else "❌ missed"
        if not self._counts(figure):
            verdict = "ℹ️  counts at full size only"
        return figure.name, f"{_shown(figure.value)} {figure.unit}", target, baseline, verdict

    def _document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "machine": machine(),
            "quick": self.quick,
            "figures": [_as_json(figure) for figure in self.figures],
        }


def wants_quick(about: str | None) -> bool:
    """Read the command line, whose one option is --quick.

    Args:
        about: the script's docstring, shown by --help.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, the same targets")
    return bool(parser.parse_args().quick)


def machine() -> str:
    """Processor, cores that we may use, system and Python, on one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{_processor()}, {cores} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown processor")


def _shown(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def _as_json(figure: Figure) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": figure.name,
        "value": round(figure.value, 4),
        "unit": figure.unit,
        "op": figure.op,
        "target": figure.target,
        "baseline": figure.baseline,
        "ok": figure.ok,
    }
    return shown | {"full": True} if figure.full else shown
