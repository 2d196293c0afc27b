"""Small JPEGs of untrusted images: a decoder in sandboxed processes, and a cache on disk."""
