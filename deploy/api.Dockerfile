# The service in one image. EXTRAS=demo adds torch, timm and the demo's model; mlflow: registries; empty: uploads alone.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ARG EXTRAS=demo
WORKDIR /src
RUN python3 -m venv /opt/errata
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY service service
RUN /opt/errata/bin/pip install --no-cache-dir ".${EXTRAS:+[${EXTRAS}]}"

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="Errata" \
      org.opencontainers.image.description="What kind of mistakes an image classifier makes" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin errata \
 && install -d -o errata -g errata /data
COPY --from=build /opt/errata /opt/errata
ENV PATH=/opt/errata/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ERRATA_DATA_DIR=/data \
    ERRATA_GRPC_ADDRESS=0.0.0.0:50051 \
    ERRATA_HTTP_ADDRESS=0.0.0.0:8080
USER 10001:10001
VOLUME /data
EXPOSE 50051 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
ENTRYPOINT ["errata"]
CMD ["serve", "--local"]
