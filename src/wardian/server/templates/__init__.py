"""Templates: the frozen root filesystems sandboxes start from."""
