"""Ports of sandboxes with addresses of their own."""
