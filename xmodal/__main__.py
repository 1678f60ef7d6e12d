"""`python -m xmodal`."""

from xmodal.cli import main

main()
