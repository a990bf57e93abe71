FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The cache mounts keep downloaded and compiled dependencies between builds. The workspace's own files are touched because Cargo
# compares modification times, and a file from another checkout can be older than its cached build.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    find . -path ./target -prune -o -type f -exec touch {} + \
    && cargo build --release --locked --bin patients \
    && cp target/release/patients /usr/local/bin/patients
# The whole content of the image: the program, the shared libraries of glibc that it needs, the root certificates with which the SMTP
# client verifies servers, a user, and two folders for volumes. There is no shell.
RUN install -D /usr/local/bin/patients /image/usr/bin/patients \
    && for library in $(ldd /usr/local/bin/patients | grep -o '/[^ ]*'); do install -D "$library" "/image$library"; done \
    && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
    && echo 'patients:x:10001:10001::/data:/usr/sbin/nologin' >/image/etc/passwd \
    # Without this file, glibc asks the DNS server before it reads /etc/hosts.
    && echo 'hosts: files dns' >/image/etc/nsswitch.conf \
    && install -d -m 0750 -o 10001 -g 10001 /image/data \
    && install -d -m 0700 -o 10001 -g 10001 /image/keyring

FROM scratch
COPY --from=build /image /
# A numeric id, because Kubernetes' runAsNonRoot does not accept a name.
USER 10001:10001
# With this working directory, the defaults data/patients.db and data/outbox are in /data.
WORKDIR /
VOLUME /data
ENV PATH=/usr/bin HTTP_ADDR=0.0.0.0:8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["patients", "health", "--wait", "3s"]
ENTRYPOINT ["patients"]
CMD ["serve"]
