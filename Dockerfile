# The command `gratis` in a small image that runs as a user without rights.
#
#   docker build --build-arg COMMIT="$(git rev-parse --short=12 HEAD)" -t gratis .
#   docker run --rm -v "$PWD:/data" gratis score --model model --reference base rollouts.jsonl -o scores.jsonl
#   docker run --rm -v "$PWD:/data" -p 127.0.0.1:8080:8080 gratis serve --model runs/prm --host 0.0.0.0

FROM rust:1.90-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
ARG COMMIT=
RUN GRATIS_COMMIT="$COMMIT" cargo build --locked --profile dist -p gratis-cli

FROM debian:bookworm-slim
RUN useradd --uid 65532 --create-home --home-dir /data --shell /usr/sbin/nologin gratis
COPY --from=build /source/target/dist/gratis /usr/local/bin/gratis
# Models from a hub and the reference's log-probabilities are kept where a volume can be mounted.
ENV HF_HOME=/data/.huggingface GRATIS_CACHE=/data/.gratis
WORKDIR /data
EXPOSE 8080
USER 65532
ENTRYPOINT ["/usr/local/bin/gratis"]
CMD ["--help"]
