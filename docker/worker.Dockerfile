# The computing process. torch comes from the package index, on x86-64 Linux with CUDA.
FROM python:3.11-slim
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY service service
RUN pip install --no-cache-dir '.[worker]' && useradd --system attributor
USER attributor
ENTRYPOINT ["attributor"]
CMD ["worker", "--models", "/models"]
