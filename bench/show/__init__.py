"""How it is shown: pure functions from data to text."""
