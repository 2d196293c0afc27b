"""Sources of predictions: uploaded files, and models that a worker runs."""
