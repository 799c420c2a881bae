"""What writes the generated parts of the documents: `python -m docs._generate` (see `__main__`)."""
