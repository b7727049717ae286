"""Another broker than one Redis."""
