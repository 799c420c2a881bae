"""Room: vocabulary."""
