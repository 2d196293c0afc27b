"""Reports, comparisons, trends, and gates as HTML, Markdown, and JUnit XML: views, texts, charts, and templates."""
