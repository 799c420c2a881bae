"""Room: likeness."""
