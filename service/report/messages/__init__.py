"""User-facing texts of the report, the pages, and the gates, by topic."""
