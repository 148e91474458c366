"""Formats other programs read. Each file turns a `Record` (record.py) into one format's text."""
