#!/usr/bin/env bash
# Registers, reads, amends, lists, erases and follows with curl. The tokens are in CLERK_TOKEN, AUDITOR_TOKEN and PRIVACY_TOKEN, unless
# the service requires no authentication.
set -euo pipefail
url=${PATIENTS_URL:-http://127.0.0.1:8000}
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT

# Prints the configuration of curl for a role. On the command line, any local user could read the token.
token() { local name=$1_TOKEN && [[ -z ${!name-} ]] || printf 'header = "Authorization: Bearer %s"\n' "${!name}"; }
# Sends a request as a role. curl retries if the connection is refused, and after timeouts and the statuses 408, 429, 500, 502, 503 and
# 504. It waits as long as Retry-After says. It does not retry 409 (a request that is still in progress).
request() {
  curl --silent --show-error --fail-with-body --max-time 30 --retry 5 --retry-connrefused \
    --config <(token "$1") --dump-header "$headers" "${@:2}"
}
# Prints a header of the last response.
header() { tr -d '\r' <"$headers" | sed -n "s/^$1: //Ip"; }

# A new key for each registration. With the same key, a repeated request does not register a second patient.
request CLERK "$url/patients" --header "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)" \
  --header 'Content-Type: application/json' --data '{
    "name": "Ana García", "email": "ana.'$RANDOM$RANDOM'@example.com", "phone": "+1234567890",
    "document_url": "https://example.com/photos/ana.jpg"}'
patient=$url$(header Location)
position=$(header Event-Position)

request CLERK "$patient"

# With If-Match, the change fails (412) if somebody else has changed the patient since the last read.
request CLERK "$patient" --request PATCH --header "If-Match: $(header ETag)" \
  --header "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)" \
  --header 'Content-Type: application/merge-patch+json' --data '{"name": "Ana Gómez"}'

# Read every page of the list. Min-Position ensures that the list contains the registration.
page="/patients?limit=2"
while [[ -n $page ]]; do
  request CLERK "$url$page" --header "Min-Position: $position"
  page=$(header Link | sed -n 's/.*<\([^>]*\)>; rel="next".*/\1/p')
done

request PRIVACY "$patient/erasure" --header 'Content-Type: application/json' --data '{"reason": "request"}'

# The feed from the registration on, and then each new event. To continue later, keep the last id.
after=$((position - 1))
while IFS= read -r line; do
  case $line in
    "id: "*) after=${line#id: } ;;
    "data: "*) echo "${line#data: }" ;;
  esac
  [[ $line != *'"event_type":"PatientErased"'* ]] || break
done < <(curl --silent --no-buffer --config <(token AUDITOR) "$url/events/stream?after=$after")
kill $! 2>/dev/null || true
echo "followed the events up to position $after"
