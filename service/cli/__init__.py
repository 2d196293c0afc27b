"""The commands and extensions that errata-service adds to the `errata` command, through entry points."""
