"""A stand-in for Gemini, and for an OpenAI-compatible server such as Ollama on the same port."""
