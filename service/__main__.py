"""python -m service: the errata command."""

from service.cli.main import main

main()
