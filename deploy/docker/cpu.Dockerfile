# Server, exporter, catalogs and training on processors. Build it from the top of the checkout:
#   docker build -f deploy/docker/cpu.Dockerfile -t choreo:cpu .
FROM python:3.11-slim-bookworm AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# PyPI's torch brings 2 GB of CUDA; this index has the same version without, and pip prefers it.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_EXTRA_INDEX_URL=$TORCH_INDEX PIP_NO_CACHE_DIR=1
RUN make prefix PREFIX=/opt/choreo EXTRAS=cpu,serve,train,postgres

FROM python:3.11-slim-bookworm
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="choreo" \
      org.opencontainers.image.description="Turns songs and prompts into dance motion" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# A compiler: the denoiser is compiled at export for the processor that it finds.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --create-home --home-dir /home/choreo choreo \
 && install -d -o choreo -g choreo /var/lib/choreo
COPY --from=build /opt/choreo /opt/choreo
ENV PATH=/opt/choreo/bin:$PATH \
    HOME=/home/choreo \
    CHOREO_HOST=0.0.0.0 \
    CHOREO_PORT=8000 \
    CHOREO_MODEL_REPO=/var/lib/choreo/model_repo \
    CHOREO_DATA_DIR=/var/lib/choreo/data \
    CHOREO_LOG_FORMAT=json \
    RAY_USAGE_STATS_ENABLED=0
WORKDIR /var/lib/choreo
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=6 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('CHOREO_PORT', '8000')}/readyz\", timeout=4)"]
# Triton and Ray keep memory in /dev/shm: give the container 1 GiB of it.
CMD ["choreo", "serve"]
