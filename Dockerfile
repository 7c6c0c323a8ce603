# A machine or a node of a cluster: `docker build --build-arg SET=gpu --tag ah-ray:gpu .`
# SET is the pinned set, cpu or gpu. CUDA's libraries come with it, the driver is the host's
# (`docker run --gpus all`). docs/gpu.md says what of this has been run.
FROM python:3.11-slim-bookworm

# Not pinned: Debian's security updates are wanted. Triton compiles for the card that it meets. git: packages ask it for their version; rsync: `ray up`
# copies with it.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ gcc git libc6-dev rsync \
    && rm -rf /var/lib/apt/lists/*

RUN pip install --no-cache-dir uv==0.13.8

ARG SET=cpu
WORKDIR /opt/ah_ray
COPY requirements/${SET}.txt requirements/
RUN uv pip install --system --no-cache --no-deps --require-hashes --compile-bytecode \
    -r requirements/${SET}.txt

# What changes often comes last: all above is kept from one build to the next.
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY data_catalog data_catalog
COPY jobs jobs
COPY ah_ray ah_ray
RUN uv pip install --system --no-cache --no-deps --no-build-isolation . \
    && useradd --create-home --uid 1000 ah_ray
USER 1000
WORKDIR /home/ah_ray

ENV RAY_USAGE_STATS_ENABLED=0
CMD ["ah-ray", "--help"]
