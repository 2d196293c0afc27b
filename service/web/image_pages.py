"""The pages of images.

/analyses/{id}/images                   the grid of the images of an analysis; image_query.py has the parameters
/datasets/{dataset}/images/{image}      one image: analysis, and the parameters of the grid
/analyses/{id}/errors/{image}           redirects to the page of the image
/static/{name}                          a script of another project
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import urlencode

from errata.errors import AnalysisNotFound, InvalidRequest, NotFound
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from service import wire
from service.analyses import queries
from service.analyses.image_details import find_image, find_newest_analysis
from service.analyses.images import list_images
from service.analyses.ports import Ports
from service.analyses.verdicts import find_bundle
from service.domain import Analysis, LabelSpace
from service.domain.images import ImageQuery
from service.evidence.agreement import agreement_for
from service.report.class_names import display_names
from service.report.grid_view import GridData, grid_view
from service.report.image_urls import ImageUrls
from service.report.image_view import ImageData, image_view
from service.report.messages.coverage import partial_coverage_note
from service.report.messages.pages import identity_text
from service.report.render import render
from service.report.static_files import STATIC_FILES, read_static_file
from service.report.urls import data_url, image_url, picture_url, thumbnail_url
from service.web.analysis_list import parameter
from service.web.image_query import PARAMETERS, TEXT_FILTERS, check_parameters, parse_query
from service.web.responses import HEADERS, html_page, path_id


class ImagePages:
    """The pages of images.

    Args:
        ports: The ports of the use cases.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def handlers(self) -> Mapping[str, Callable[[Request], Response]]:
        """Return the handler of each route."""
        return {
            "/analyses/{id}/images": self._grid,
            "/analyses/{id}/errors/{image:path}": self._redirect,
            "/datasets/{dataset}/images/{image:path}": self._image,
            "/static/{name}": self._static_file,
        }

    def _grid(self, request: Request, problem: str = "") -> Response:
        check_parameters(request, PARAMETERS)
        try:
            analysis, label_space, query = self._parse(request, path_id(request, "id"))
            page = list_images(self._ports.stores, query)
        except InvalidRequest as error:
            refused = {violation.field for violation in error.violations}.intersection(TEXT_FILTERS)
            if not refused:
                raise
            others = [(name, text) for name, text in request.query_params.multi_items() if name not in refused]
            without = Request({**request.scope, "query_string": urlencode(others).encode()})
            return self._grid(without, f"{problem} {error.message}".strip())
        query = replace(query, page=page.page)
        dataset = analysis.request.dataset
        baseline = queries.get(self._ports.stores, query.baseline).title if query.baseline else ""
        data = GridData(
            query=query,
            urls=ImageUrls(dataset, label_space.ids, query),
            title=analysis.title,
            names=display_names(label_space),
            rows=page.rows,
            facets=page.facets,
            total=page.total,
            num_pages=page.num_pages,
            num_models=page.num_models,
            thumbnail_url=self._thumbnail_source(dataset),
            has_probability=page.judged.predictions.probability is not None,
            baseline=baseline,
            identity=identity_text(analysis.id, analysis.owner),
            coverage=partial_coverage_note(analysis),
            problem=problem or None,
        )
        return html_page(render("images.html", site=True, view=grid_view(data)), 400 if problem else 200)

    def _image(self, request: Request) -> Response:
        dataset, name = str(request.path_params["dataset"]), str(request.path_params["image"])
        check_parameters(request, ("analysis", *PARAMETERS))
        analysis_id = parameter(request, "analysis") or find_newest_analysis(self._ports.stores, dataset)
        if not wire.is_id(analysis_id):
            raise AnalysisNotFound(f"Analysis {analysis_id!r:.80} not found.", field="analysis")
        analysis, label_space, query = self._parse(request, analysis_id)
        details = find_image(self._ports.stores, dataset, name, query)
        data = ImageData(
            analysis=analysis,
            verdict=details.verdict,
            names=display_names(label_space),
            urls=ImageUrls(dataset, label_space.ids, query),
            neighbors=details.neighbors,
            others=details.others,
            picture=self._url_builder(dataset, picture_url)(name),
            thumbnail_url=self._url_builder(dataset, thumbnail_url),
            judged=details.judged.bundle.row_of_name.keys(),
            agreement=agreement_for(dataset),
        )
        return html_page(render("image.html", site=True, view=image_view(data)))

    def _parse(self, request: Request, analysis_id: str) -> tuple[Analysis, LabelSpace, ImageQuery]:
        """Return the analysis of a request, its classes, and the query."""
        analysis = queries.get_succeeded(self._ports.stores, analysis_id)
        label_space = find_bundle(self._ports.stores, analysis).label_space
        return analysis, label_space, parse_query(request, analysis_id, label_space)

    def _url_builder(self, dataset: str, build_url: Callable[[str, str, str], str]) -> Callable[[str], str]:
        """Return a function from image names to picture URLs; the URLs are empty if the data set has no pictures."""
        if not self._ports.thumbnails.has(dataset):
            return lambda _: ""
        return lambda name: build_url(dataset, name, self._ports.thumbnails.version(dataset, name))

    def _thumbnail_source(self, dataset: str) -> Callable[[str], str]:
        """Return a function from image names to thumbnail URLs; the URL of a cached thumbnail is a data URL."""
        build_url, thumbnails = self._url_builder(dataset, thumbnail_url), self._ports.thumbnails

        def source(name: str) -> str:
            cached = thumbnails.find_cached(dataset, name)
            return build_url(name) if cached is None else data_url(cached)

        return source

    def _redirect(self, request: Request) -> Response:
        analysis = queries.get(self._ports.stores, path_id(request, "id"))
        url = image_url(analysis.request.dataset, request.path_params["image"], analysis=analysis.id)
        return RedirectResponse(url, status_code=308, headers=HEADERS)

    def _static_file(self, request: Request) -> Response:
        name = str(request.path_params["name"])
        if name not in STATIC_FILES:
            raise NotFound(f"File {name!r:.80} not found.", field="name")
        headers = HEADERS | {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(read_static_file(name), media_type="text/javascript", headers=headers)
