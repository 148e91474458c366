"""Settings of every test."""

from __future__ import annotations

from hypothesis import settings

# Hypothesis's own deadline is a timing assertion; timings belong to the perf session.
settings.register_profile("bench", deadline=None)
settings.load_profile("bench")
