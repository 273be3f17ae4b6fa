"""The public-media stand-in: what the world sees of the folder of published pictures."""
