# A Triton server with what the Python backend of the models imports, and no program of ours. Build it from the top of
# the checkout; the advisories that decide about the release are in docs/deploy.md:
#   docker build -f deploy/docker/triton.Dockerfile -t choreo:triton .
ARG TRITON_RELEASE=26.10
FROM nvcr.io/nvidia/tritonserver:${TRITON_RELEASE}-py3
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="choreo-triton" \
      org.opencontainers.image.description="Triton for the graphs of choreo" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY requirements /tmp/requirements
RUN python3 -m pip install --no-cache-dir --break-system-packages -c /tmp/requirements/cpu.lock numpy onnxruntime
USER 1000:1000
EXPOSE 8001 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=6 \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8002/metrics', timeout=4)"]
# HTTP is off: cancellation and deadlines travel only over gRPC, and most advisories are about it.
CMD ["tritonserver", "--model-repository=/models", "--model-control-mode=none", "--disable-auto-complete-config", \
     "--allow-http=false", "--grpc-address=0.0.0.0", "--grpc-port=8001", "--metrics-address=0.0.0.0", \
     "--metrics-port=8002", "--exit-timeout-secs=30"]
