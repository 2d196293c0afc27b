"""Where predictions come from: uploaded files, and models that a worker runs."""
