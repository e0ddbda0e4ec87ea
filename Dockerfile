# The server, without torch. Exports are mounted and never copied in, so one image serves any encoder:
#
#   docker build -t pacx-serve .
#   docker run --rm --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#       -p 127.0.0.1:8080:8080 -e PACX_TOKEN -v "$PWD/exports:/exports:ro" \
#       pacx-serve mae=/exports/mae pacx=/exports/pacx
#
# It listens on every address of its container and speaks no TLS: publish the port to 127.0.0.1, as above, or put it
# behind something that does.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /opt/pacx
RUN /opt/pacx/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt ".[serve]"

FROM python:3.11-slim
COPY --from=build /opt/pacx /opt/pacx
ENV PATH=/opt/pacx/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health/ready', timeout=3)"]
ENTRYPOINT ["pacx", "serve", "--host", "0.0.0.0", "--port", "8080", "--cache", "/tmp/pacx"]
