"""Room: checkpoint/sources."""
