# The service and its bundles. `--build-arg REQUIREMENTS=batch` builds it for whole slides and cohorts too,
# `--build-arg REQUIREMENTS=gpu` for NVIDIA GPUs (Linux x86-64).
FROM python:3.11-slim-bookworm AS build

ARG REQUIREMENTS=serve
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

WORKDIR /src
RUN python3 -m venv /opt/venv
COPY requirements/${REQUIREMENTS}.txt requirements.txt
RUN /opt/venv/bin/pip install --no-deps --require-hashes -r requirements.txt
# Left out of the image: the tests of the libraries, and the C library of ONNX Runtime, whose Python module has all of it within.
RUN find /opt/venv/lib -type d -name tests -prune -exec rm -r {} + \
    && rm -f /opt/venv/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.*
COPY pyproject.toml README.md LICENSE marrowscope.py ./
COPY app app
RUN /opt/venv/bin/pip install --no-deps . \
    && /opt/venv/bin/pip uninstall --yes setuptools pip


FROM python:3.11-slim-bookworm

# Nothing is installed in this stage, so the pip of the base image is removed. The folders are for volumes.
RUN rm -rf /usr/local/lib/python3.11/site-packages/* /usr/local/lib/python3.11/ensurepip /usr/local/bin/pip* /usr/local/bin/wheel \
    && useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin marrowscope \
    && install -d -o marrowscope -g marrowscope -m 0700 /var/lib/marrowscope/keys /var/lib/marrowscope/audit /var/lib/marrowscope/batches /var/lib/marrowscope/reviews /var/lib/marrowscope/taught /var/lib/marrowscope/drift \
    && install -d /slides
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv/marrowscope
COPY models models

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    DASK_TEMPORARY_DIRECTORY=/tmp \
    MARROWSCOPE_BUNDLES_DIR=/srv/marrowscope/models \
    MARROWSCOPE_TAUGHT_DIR=/var/lib/marrowscope/taught

USER 10001:10001
EXPOSE 8000
# Ready means that the bundle was loaded and has reproduced its golden pair.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["marrowscope", "serve", "--host", "0.0.0.0", "--port", "8000"]
