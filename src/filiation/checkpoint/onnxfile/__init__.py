"""Reading ONNX graphs: where their weights lie, how they were quantised, and what the graph says their names are."""
