"""The HTTP edge, in the API's event loop."""
