"""Pure: from verdicts to numbers. Arrays in, records out."""
