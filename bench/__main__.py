"""`python -m bench`, for where the name of the command is taken by another program."""

from bench.cli import main

main()
