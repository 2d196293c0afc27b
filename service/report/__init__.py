"""The report: records of what it shows (view), their words, their pictures, and the templates."""
