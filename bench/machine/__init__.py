"""This machine, from outside."""
