"""The control plane: API, lifecycle, policy and records of one node."""
