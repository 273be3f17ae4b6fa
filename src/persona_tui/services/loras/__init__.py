"""LoRA files: what they are, their versions, who uses them, and where servers find them."""
