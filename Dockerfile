# syntax=docker/dockerfile:1
# The operator and the command line: one static binary and nothing else. `docker build -t tracesteward .`
# The release workflow builds it for each platform on a machine of that platform, so that nothing is emulated.

FROM rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev
WORKDIR /src
COPY . .
# Caches are for builds by hand; a release starts without them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin tracesteward \
    && install -D target/release/tracesteward /out/usr/local/bin/tracesteward \
    && install -D -m 644 LICENSE /out/licenses/LICENSE \
    && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ca-certificates.crt

FROM scratch
COPY --from=build /out /
ENV PATH=/usr/local/bin
# A number, so that the kubelet can see that it is not root.
USER 65532:65532
EXPOSE 8080 9443
ENTRYPOINT ["tracesteward"]
