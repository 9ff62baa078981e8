"""API dialects: translate and authorise, nothing else."""
