"""A against B, measured now: pairs of processes are measured, and the judge is asked how many more it wants."""
