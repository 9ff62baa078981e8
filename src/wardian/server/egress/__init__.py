"""What a sandbox may reach, and what is told of what it did reach."""
