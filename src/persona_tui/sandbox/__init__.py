"""Local stand-ins that speak the real protocols of ComfyUI, Instagram and Gemini; imported by nothing."""
