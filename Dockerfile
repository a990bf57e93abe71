FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The cache mounts keep the dependencies, downloaded and compiled, from one build to the next. The workspace's own files are
# touched because Cargo compares times, and a file of another checkout can be older than what the shared cache holds.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    find . -path ./target -prune -o -type f -exec touch {} + \
    && cargo build --release --locked --bin patients \
    && cp target/release/patients /usr/local/bin/patients \
    && install -d -m 0750 /data

FROM debian:bookworm-slim
# lettre checks SMTP servers against the system's roots, and the slim image has none.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/bin/patients /usr/local/bin/patients
COPY --from=build --chown=10001:10001 /data /data
# A number, not a name: Kubernetes' runAsNonRoot accepts nothing else.
USER 10001:10001
# The embedded defaults, data/patients.db and data/outbox, are then in /data.
WORKDIR /
VOLUME /data
ENV HTTP_ADDR=0.0.0.0:8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["patients", "health", "--wait", "3s"]
ENTRYPOINT ["patients"]
CMD ["serve"]
