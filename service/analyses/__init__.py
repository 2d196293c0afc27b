"""The use cases of the service: plain functions over ports, one module per use case."""
