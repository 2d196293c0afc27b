"""python -m service: the errata command."""

from errata.cli.main import main

main()
