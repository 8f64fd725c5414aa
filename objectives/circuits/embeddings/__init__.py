"""Embeddings by name: circuits as vectors, without labels, one component a file."""
