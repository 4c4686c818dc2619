# The computing process, for NVIDIA GPUs. torch's own packages bring CUDA, which onnxruntime-gpu finds there; the driver is
# the host's.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY service service
RUN python -m venv /opt/attributor \
 && /opt/attributor/bin/pip install --no-cache-dir '.[gpu,comparators,huggingface,telemetry]'

FROM python:3.11-slim
COPY --from=build /opt/attributor /opt/attributor
# A worker touches the file while it lives, with or without a store that answers.
ENV PATH=/opt/attributor/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    ATTRIBUTOR_WORKER__HEARTBEAT_FILE=/tmp/attributor-alive \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, sys, time; sys.exit(time.time() - os.stat('/tmp/attributor-alive').st_mtime > 30)"]
ENTRYPOINT ["attributor"]
CMD ["worker", "--models", "/models", "--devices", "all"]
