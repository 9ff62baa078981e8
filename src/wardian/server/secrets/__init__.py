"""Credentials that never enter a sandbox."""
