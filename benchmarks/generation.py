"""How fast the generation engine is, and that it neither idles a card nor loses a picture.

* `throughput`: pictures per second through the whole engine against a bare httpx loop on the same server.
* `utilisation`: how much of the time the server works, against the predecessor's way of feeding it.
* `selection`: how long it takes to decide what comes next.
* `faults`: pictures lost, doubled or stuck after kills of the app and of the server.

By default against the sandbox, which each part starts for itself. `--server URL` takes a real ComfyUI for the
parts that talk to one; jobs of a set length need the node of generation_parts/sleep_node.py there.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterable

from report import Figure, Report

PARTS = {"throughput": True, "utilisation": True, "selection": False, "faults": False}
"""Module in generation_parts → whether it talks to a server that can be chosen."""
SANDBOX = "sandbox"


def figures(part: str, quick: bool, server: str) -> Iterable[Figure]:
    """The figures of one part, as they come."""
    module = importlib.import_module(f"generation_parts.{part}")
    found: Iterable[Figure] = module.figures(quick, server) if PARTS[part] else module.figures(quick)
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes, the same targets")
    parser.add_argument("--only", action="append", choices=PARTS, help="one part; may be given again")
    parser.add_argument("--server", default=SANDBOX, help=f"{SANDBOX}, or the address of a real ComfyUI")
    asked = parser.parse_args()
    name = "generation" if asked.server == SANDBOX else "generation on a real server"
    report = Report(name, asked.quick)
    for part in asked.only or PARTS:
        for figure in figures(part, asked.quick, asked.server):
            print(f"{part}: {figure.name} {figure.value:.4g} {figure.unit}", flush=True)
            report.add(figure)
    report.finish()


if __name__ == "__main__":
    main()
