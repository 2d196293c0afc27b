"""The client for asyncio. `client/generate_sync.py` generates the blocking client, errata/_sync, from this package."""
