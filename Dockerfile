# syntax=docker/dockerfile:1
FROM golang:1.26-bookworm AS build
WORKDIR /src
# The libraries first, then the modules: both change rarely.
COPY Makefile ./
RUN make deps
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN make build VERSION=$VERSION

FROM debian:12-slim
# Names under the tiles are drawn in any script that a font here has. Not in here,
# since who uses it has to fetch it from Cisco: OpenH264 (README.md, H.264).
RUN apt-get update \
 && apt-get install --no-install-recommends -y libvpx7 libopus0 libyuv0 libspeexdsp1 fonts-noto-cjk fonts-noto-color-emoji fonts-dejavu-core wget \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /data mixdown \
 && install -d -o mixdown -g mixdown /data
COPY --from=build /src/bin/mixdown /usr/local/bin/mixdown
USER mixdown
WORKDIR /data
VOLUME /data
EXPOSE 8189/udp 8189/tcp
HEALTHCHECK --interval=10s --timeout=3s CMD wget -q -O /dev/null http://127.0.0.1:8080/livez || exit 1
# Without keys HTTP is served on loopback only, so run this with --network host.
ENTRYPOINT ["mixdown"]
CMD ["serve", "--data", "/data"]
