"""Datasets, plans and runs of LoRA training. Knows tables and processes, and no torch."""
