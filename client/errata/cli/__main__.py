"""python -m errata.cli: the errata command."""

from errata.cli.main import main

main()
