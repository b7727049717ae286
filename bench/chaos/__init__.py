"""Faults by the hundred while clients work, and whether anything acknowledged is lost for them."""
