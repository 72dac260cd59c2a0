"""`python -m moxy` is the command `moxy`."""

from moxy.cli import main

main()
