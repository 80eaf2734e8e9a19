#!/bin/sh
# Secrets that are mounted as files, /run/secrets/REFKEEP_DATABASE_URL and the like, become the variables they are named
# after; then Refkeep takes this process's place.
set -eu
for file in /run/secrets/REFKEEP_* /run/secrets/AWS_* /run/secrets/OTEL_*; do
    if [ -f "$file" ]; then
        value=$(cat "$file")
        export "${file##*/}=$value"
    fi
done
exec refkeep "$@"
