# The HTTP process. No torch in here.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY service service
RUN python -m venv /opt/attributor \
 && /opt/attributor/bin/pip install --no-cache-dir '.[telemetry]'

FROM python:3.11-slim
COPY --from=build /opt/attributor /opt/attributor
# Nothing is written but to /tmp, and that only while a large body is read: the root file system can be read-only.
ENV PATH=/opt/attributor/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ATTRIBUTOR_API__HOST=0.0.0.0
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]
ENTRYPOINT ["attributor"]
CMD ["api", "--models", "/models"]
