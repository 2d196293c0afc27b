"""The HTTP server: pages, gates, webhooks of registries, health checks, and metrics."""
