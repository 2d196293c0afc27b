"""The `errata` command. Each command is imported when it is used, so that `errata --help` is fast."""
