"""Peers of the control plane that speak the real protocol over real sockets, without a kernel."""
