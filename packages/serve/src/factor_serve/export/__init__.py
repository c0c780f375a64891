"""Members of a bundle as ONNX graphs, each held against the member that it was made of."""
