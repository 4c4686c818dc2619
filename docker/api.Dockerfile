# The HTTP process. No torch in here.
FROM python:3.11-slim
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY service service
RUN pip install --no-cache-dir . && useradd --system attributor
USER attributor
EXPOSE 8080
ENTRYPOINT ["attributor"]
CMD ["api", "--models", "/models"]
