"""The pages of the site that are made from the code."""

from collections.abc import Callable, Mapping

from docs_site import (
    adr_index,
    cli_page,
    error_types_page,
    errors_page,
    grpc_pages,
    metrics_page,
    python_page,
    settings_page,
    validity_page,
)

GENERATED: Mapping[str, Callable[[], str]] = {  # path of a page: its Markdown
    "adr/index.md": adr_index.render,
    "concepts/validity.md": validity_page.render,
    "reference/cli.md": cli_page.render,
    "reference/error-types.md": error_types_page.render,
    "reference/errors.md": errors_page.render,
    "reference/metrics.md": metrics_page.render,
    "reference/python.md": python_page.render,
    "reference/settings.md": settings_page.render,
    **{f"reference/grpc/{name}": render for name, render in grpc_pages.PAGES.items()},
}
