"""The parts of benchmarks/voting.py."""
