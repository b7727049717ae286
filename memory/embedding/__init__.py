"""Embedding models, one provider a file, behind the `Embedder` protocol."""
