#!/bin/sh
# What the container runs: the program. Before the first `serve` it makes the key
# that MIXDOWN_KEYS names, which stays in the volume.
set -eu
if [ "${1:-}" = serve ] && [ -n "${MIXDOWN_KEYS:-}" ] && [ ! -s "$MIXDOWN_KEYS" ]; then
	umask 077
	mixdown keys new "$MIXDOWN_KEYS" >&2
	echo "a token for the owner's page: mixdown token --admin --link https://HOST:8443, in this container" >&2
fi
exec mixdown "$@"
