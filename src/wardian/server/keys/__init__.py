"""API keys: made, checked, forgotten."""
