# The dashboard and the command line in one image: `docker build -t pairwright .`
FROM python:3.11-slim-bookworm

# The CPU build of torch; a CUDA build of the same version: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_EXTRA_INDEX_URL=${TORCH_INDEX} \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

COPY . /src
# requirements.txt holds the versions that were tested together.
RUN python -m pip install --quiet --constraint /src/requirements.txt "/src[server,train]"
RUN useradd --create-home --uid 10001 pairwright && mkdir /data && chown pairwright /data && rm -rf /src

USER 10001
# Everything that is kept lies here: mount it. Pools that may be opened: CURATION_POOLS.
WORKDIR /data
ENV CURATION_HOME=/data/workspace
VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
ENTRYPOINT ["pairwright"]
CMD ["dashboard", "--address", "0.0.0.0"]
