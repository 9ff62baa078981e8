"""Computers for AI agents: isolated, persistent Linux sandboxes on hardware of your own."""
