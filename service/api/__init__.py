"""The gRPC edge: shells that decode, call a use case and encode."""
