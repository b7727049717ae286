"""Rerankers: a second, closer look at the best candidates of a search."""
