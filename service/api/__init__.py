"""The gRPC server: servicers that decode a request, call a use case, and encode the response."""
