"""The numbers of docs/architecture.md, each beside a baseline of the same run."""
