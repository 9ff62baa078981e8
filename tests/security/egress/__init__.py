"""Programs in a sandbox that try to get past its egress policy."""
