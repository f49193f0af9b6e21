"""Geometry of embeddings, continual-learning metrics, read-outs, and both as Avalanche metrics."""
