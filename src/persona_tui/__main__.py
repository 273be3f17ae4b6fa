"""`python -m persona_tui` is the console script."""

from persona_tui.cli import main

main()
