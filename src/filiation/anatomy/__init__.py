"""Room: anatomy."""
