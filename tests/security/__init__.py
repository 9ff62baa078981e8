"""Attacks on a whole node, from inside a sandbox and from outside."""
