"""The test oracle: the error classification, slow on purpose and written from the spec alone."""
