"""A suite declares a matrix of cases. Each case is measured through one inference core, in fresh processes.

What was seen is a report. A report is judged against targets, a baseline or another machine, and shown.
"""

__version__ = "0.1.0"
