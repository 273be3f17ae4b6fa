"""The parts of benchmarks/generation.py: one module per claim.

Each has `figures(quick) -> Iterable[Figure]` (`report.Figure`), those that talk to a ComfyUI server
`figures(quick, server)`, where server is `sandbox` or an address. A part makes its own database in a
temporary folder (`studio.studio()` does it), prints what is worth reading on the way, and leaves nothing
behind. Figures may come one by one: the script shows each as it comes. `generation.PARTS` names the modules
and imports one only when it is asked for.
"""
