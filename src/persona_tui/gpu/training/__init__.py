"""Training of LoRAs: runs in children of its own, and knows folders and values only."""
