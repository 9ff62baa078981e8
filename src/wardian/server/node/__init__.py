"""This machine: clients of launcher and edge, set-up, doctor."""
