FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The cache mounts keep downloaded and compiled dependencies between builds. The workspace's own files are touched because Cargo
# compares modification times, and a file from another checkout can be older than its cached build.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    find . -path ./target -prune -o -type f -exec touch {} + \
    && cargo build --release --locked --bin patients \
    && cp target/release/patients /usr/local/bin/patients \
    && install -d -m 0750 /data && install -d -m 0700 /keyring

FROM debian:bookworm-slim
# The SMTP client verifies servers against the system's root certificates, which the slim image lacks.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/bin/patients /usr/local/bin/patients
COPY --from=build --chown=10001:10001 /data /data
# For a volume with the keyring, as in compose.yaml.
COPY --from=build --chown=10001:10001 /keyring /keyring
# A numeric id, because Kubernetes' runAsNonRoot does not accept a name.
USER 10001:10001
# With this working directory, the defaults data/patients.db and data/outbox are in /data.
WORKDIR /
VOLUME /data
ENV HTTP_ADDR=0.0.0.0:8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["patients", "health", "--wait", "3s"]
ENTRYPOINT ["patients"]
CMD ["serve"]
