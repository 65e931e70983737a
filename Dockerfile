# docker build -t research-code-lab . && docker run -p 7860:7860 -v lab-data:/data research-code-lab
FROM python:3.11-slim
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home lab && install --directory --owner=lab /lab /data
USER lab
WORKDIR /lab

# The packages in a layer of their own: a change of the code does not install them again. The CPU build of torch
# is 2 GB smaller; for a GPU, build with --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --chown=lab Makefile requirements.txt constraints.txt ./
RUN PIP_EXTRA_INDEX_URL=$TORCH_INDEX PIP_NO_CACHE_DIR=1 make setup

COPY --chown=lab . .
# The converted base model, the harvested dataset, own checkpoints, runs and jobs.
ENV HOST=0.0.0.0 RCL_DATA_DIR=/data
VOLUME /data
EXPOSE 7860
CMD ["make", "app"]
