"""The Instagram stand-in: the Graph API of a professional account, its states, limits and errors."""
