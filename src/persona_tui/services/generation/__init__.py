"""Pipelines, their runs, gates, and the engine that grows a run's tree of pictures in ComfyUI."""
