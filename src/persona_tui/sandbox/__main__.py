"""`python -m persona_tui.sandbox`: the stand-ins for ComfyUI, Instagram, Gemini and the public media host."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from persona_tui.errors import PersonaError
from persona_tui.sandbox.control import SandboxOptions
from persona_tui.sandbox.server import STAND_INS, TOKEN_VARIABLE, SandboxConfig, serve


def _size(text: str) -> tuple[int, int]:
    width, separator, height = text.partition("x")
    if not (separator and width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError("must look like 824x1024")
    return int(width), int(height)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError("must be between 0 and 3600")
    return value


def _parse(arguments: list[str]) -> SandboxConfig:
    parser = argparse.ArgumentParser(prog="python -m persona_tui.sandbox", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder of all that outlives a restart")
    for one in STAND_INS:
        parser.add_argument(
            f"--{one.name}-port", type=int, default=0, metavar="N", help="0 takes a free port"
        )
    parser.add_argument("--json", action="store_true", help="the line on stdout is JSON (it always is)")
    parser.add_argument("--watch-parent", action="store_true", help="end when the starting process ends")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--image-size", type=_size, metavar="WxH", help="size of all pictures (as asked)")
    parser.add_argument(
        "--latency", type=_seconds, default=SandboxOptions.latency, help="seconds that generating takes"
    )
    given = parser.parse_args(arguments)
    return SandboxConfig(
        state=given.state.absolute(),
        ports={one.name: getattr(given, f"{one.name}_port") for one in STAND_INS},
        watch_parent=given.watch_parent,
        token=os.environ.pop(TOKEN_VARIABLE, None),
        options=SandboxOptions(seed=given.seed, image_size=given.image_size, latency=given.latency),
    )


def main(arguments: list[str]) -> int:
    """Run the sandbox; 0 after a clean stop, 1 with one sentence on stderr when it can't start."""
    try:
        asyncio.run(serve(_parse(arguments)))
    except PersonaError as problem:
        sys.stderr.write(f"{problem.message} {problem.hint}\n")
        return 1
    except OSError as problem:
        sys.stderr.write(f"The sandbox can't start: {problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
