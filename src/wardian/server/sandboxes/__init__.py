"""Lifecycle of sandboxes and the records of it."""
