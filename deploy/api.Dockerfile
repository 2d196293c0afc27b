# The API: gRPC, pages, webhooks, and metrics. Without torch, since workers run the models. `serve --local` judges uploads in one container.
# Build in the root of the repository: docker build -f deploy/api.Dockerfile -t errata-api .
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
# hub: resolves branches of Hugging Face models; object-store: archives in s3://
ARG EXTRAS=hub,object-store
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
RUN python3 deploy/requirements.py "${EXTRAS}" > requirements.txt \
 && python3 -m pip --python /opt/errata/bin/python3 install --requirement requirements.txt
COPY README.md LICENSE ./
COPY protos protos
COPY client client
COPY service service
RUN python3 -m pip --python /opt/errata/bin/python3 install --no-deps ./client .

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Errata API" \
      org.opencontainers.image.description="Errata classifies the errors of image classifiers: the API" \
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
    GRPC_VERBOSITY=ERROR \
    ERRATA_DATA_DIR=/data \
    ERRATA_GRPC_ADDRESS=0.0.0.0:50051 \
    ERRATA_HTTP_ADDRESS=0.0.0.0:8080
USER 10001:10001
VOLUME /data
EXPOSE 50051 8080
STOPSIGNAL SIGTERM
# gRPC health, over TLS if ERRATA_TLS and ERRATA_CA_FILE are set
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s CMD ["errata", "health"]
ENTRYPOINT ["errata"]
CMD ["serve"]
