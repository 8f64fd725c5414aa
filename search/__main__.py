"""`python -m search` is `pretune`."""

from search.cli import main

main(prog_name="pretune")
