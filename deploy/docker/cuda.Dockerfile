# Training, export and evaluation on NVIDIA GPUs. Build it from the top of the checkout:
#   docker build -f deploy/docker/cuda.Dockerfile -t choreo:cuda .
FROM nvidia/cuda:13.0.2-cudnn-runtime-ubuntu24.04 AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends make python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ENV PIP_NO_CACHE_DIR=1
RUN make prefix PREFIX=/opt/choreo EXTRAS=gpu,serve,train,postgres

FROM nvidia/cuda:13.0.2-cudnn-runtime-ubuntu24.04
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="choreo-cuda" \
      org.opencontainers.image.description="Turns songs and prompts into dance motion, with CUDA" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ libpython3.12t64 python3 \
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
    RAY_USAGE_STATS_ENABLED=0 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /var/lib/choreo
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=6 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('CHOREO_PORT', '8000')}/readyz\", timeout=4)"]
CMD ["choreo", "serve"]
