"""Readers of the data sets that search is measured on, one format a file."""
