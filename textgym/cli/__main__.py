"""`python -m textgym.cli`, for where the console script is not on the path."""

from textgym.cli import main

main()
