#!/bin/sh
# Makes the secrets of deploy/compose.yaml, once: random, in a folder that only you can enter. What is there stays as it is.
#   deploy/new-secrets.sh [FOLDER]
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 0700 "$folder"
cd "$folder"
umask 0333 # containers read them as users of their own, and meet the file without its folder

random() { head -c "$1" /dev/urandom | od -An -vtx1 | tr -d ' \n'; }
write() { [ -e "$1" ] || printf '%s' "$2" > "$1"; }

write postgres_password "$(random 24)"
write REFKEEP_DATABASE_URL "postgresql://refkeep:$(cat postgres_password)@postgres:5432/refkeep"
write REFKEEP_SIGNING_KEYS "k1:$(head -c 32 /dev/urandom | base64 | tr -d '\n')"
write AWS_ACCESS_KEY_ID "refkeep-$(random 6)"
write AWS_SECRET_ACCESS_KEY "$(random 24)"
write grafana_password "$(random 12)"
write s3.json "{\"identities\": [{\"name\": \"refkeep\", \"actions\": [\"Admin\", \"Read\", \"Write\", \"List\", \"Tagging\"],
 \"credentials\": [{\"accessKey\": \"$(cat AWS_ACCESS_KEY_ID)\", \"secretKey\": \"$(cat AWS_SECRET_ACCESS_KEY)\"}]}]}"
echo "The secrets are in $PWD. Grafana's password for admin: $(cat grafana_password)"
