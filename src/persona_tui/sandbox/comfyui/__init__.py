"""The ComfyUI stand-in: the protocol of v0.8.0."""
