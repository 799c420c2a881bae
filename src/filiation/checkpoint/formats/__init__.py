"""Room: checkpoint/formats."""
