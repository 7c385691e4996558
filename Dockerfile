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
COPY --chmod=755 cmd/mixdown/deploy/entrypoint.sh /usr/local/bin/entrypoint.sh
USER mixdown
WORKDIR /data
VOLUME /data
# What serve takes by default in here; flags after `serve` win. The key is made at
# the first start (entrypoint.sh).
ENV MIXDOWN_DATA=/data MIXDOWN_KEYS=/data/keys MIXDOWN_TLS=self
EXPOSE 8443/tcp 8189/udp 8189/tcp
HEALTHCHECK --interval=10s --timeout=3s CMD wget -q -O /dev/null http://127.0.0.1:9090/livez || exit 1
# With --network host, or else --public-address has to say where media is reached.
ENTRYPOINT ["entrypoint.sh"]
CMD ["serve"]
