#!/usr/bin/env bash
# Registers, reads, amends, lists, erases and follows with curl. The tokens are in CLERK_TOKEN, AUDITOR_TOKEN and PRIVACY_TOKEN, unless
# the service requires no authentication.
set -euo pipefail
url=${PATIENTS_URL:-http://127.0.0.1:8000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Prints the configuration of curl for a role. On the command line, any local user could read the token.
token() { local name=$1_TOKEN && [[ -z ${!name-} ]] || printf 'header = "Authorization: Bearer %s"\n' "${!name}"; }
# Sends a request as a role, and prints the response. curl repeats the request if no response arrives, and after the statuses 408, 429,
# 500, 502, 503 and 504. It waits as long as Retry-After says. Each request of this script can be repeated. curl does not repeat 409 (a
# request that is still in progress).
request() {
  local status
  # With --fail, --retry-all-errors would also repeat requests that the service has rejected.
  status=$(curl --silent --show-error --max-time 30 --retry 5 --retry-all-errors --config <(token "$1") \
    --dump-header "$work/headers" --output "$work/body" --write-out '%{http_code}' "${@:2}")
  cat "$work/body"
  [[ $status == 2* ]]
}
# Prints a header of the last response.
header() { tr -d '\r' <"$work/headers" | sed -n "s/^$1: //Ip" | tail -n 1; }
# Prints a URL. Location and Link contain paths, or URLs if the service has a PUBLIC_URL.
absolute() { if [[ $1 == /* ]]; then echo "$url$1"; else echo "$1"; fi; }

# A new key for each registration. With the same key, a repeated request does not register a second patient.
request CLERK "$url/patients" --header "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)" \
  --header 'Content-Type: application/json' --data '{
    "name": "Ana García", "email": "ana.'$RANDOM$RANDOM'@example.com", "phone": "+1234567890",
    "document_url": "https://example.com/photos/ana.jpg"}'
patient=$(absolute "$(header Location)")
position=$(header Event-Position)

request CLERK "$patient"

# With If-Match, the change fails (412) if somebody else has changed the patient since the last read.
request CLERK "$patient" --request PATCH --header "If-Match: $(header ETag)" \
  --header "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)" \
  --header 'Content-Type: application/merge-patch+json' --data '{"name": "Ana Gómez"}'

# Read every page of the list. Min-Position ensures that the list contains the registration.
page="/patients?limit=2"
while [[ -n $page ]]; do
  request CLERK "$(absolute "$page")" --header "Min-Position: $position"
  page=$(header Link | sed -n 's/.*<\([^>]*\)>; rel="next".*/\1/p')
done

request PRIVACY "$patient/erasure" --header 'Content-Type: application/json' --data '{"reason": "request"}'

# The feed from the registration on, and then each new event. To continue later, keep the position of the last event.
after=$((position - 1)) erased=''
until [[ -n $erased ]]; do
  data=''
  # The service sends at least a comment every 15 s, so the connection is lost after 45 s without a line.
  while [[ -z $erased ]] && IFS= read -t 45 -r line; do
    case $line in
      "id: "*) id=${line#id: } ;;
      "data: "*) data=${line#data: } ;;
      "") # The end of an event.
        [[ -z $data ]] || { after=$id && echo "$data"; }
        [[ $data != *'"event_type":"PatientErased"'* ]] || erased=yes
        data='' ;;
    esac
  done < <(curl --silent --show-error --fail --no-buffer --retry 5 --config <(token AUDITOR) "$url/events/stream?after=$after")
  kill $! 2>/dev/null || true
  # 22: the service has rejected the request.
  wait $! || (($? != 22)) || exit 1
  [[ -n $erased ]] || sleep 1
done
echo "followed the events up to position $after"
