#!/usr/bin/env bash
# Builds the image from the Dockerfile, runs it as docker-compose.yml says, and checks what both promise.
# Usage: bash container/test.sh [RECORD.json]     PYTHON names a Python with the service installed (.venv/bin/python).
set -euo pipefail
cd "$(dirname "$0")/.."

readonly RECORD=${1:-docs/reliability/container.json}
export PORT=${PORT:-8000}

# shellcheck source=container/common.sh
source container/common.sh

inside() { engine exec "$CONTAINER" "$@"; }

start() {
    compose up --no-build --detach marrowscope
    CONTAINER=$(compose ps --quiet | head -1)
    [[ -n $CONTAINER ]] || fail "compose started nothing"
    wait_until_healthy "$CONTAINER"
}

# Prints one field of /proc/PID/status for every process in the container, each value once.
status_of_all() { inside sh -c 'cat /proc/[0-9]*/status' | awk -v name="$1:" '$1 == name { print $2 }' | sort -u; }

check_image() {
    local bytes
    bytes=$(engine image inspect -f '{{.Size}}' marrowscope)
    fact image_mb $((bytes / 1000000))
    fact base_mb $(($(engine image inspect -f '{{.Size}}' "$BASE") / 1000000))
    ((bytes <= 700000000)) || fail "the image has $bytes bytes, more than 700 million"
    local tools
    tools=$(inside find / -xdev \( -name pip -o -name setuptools \) 2>/dev/null || true)
    [[ -z $tools ]] || fail "the image has what installs packages: $tools"
    fact installers none
}

check_confinement() {
    local capabilities
    fact uid "$(status_of_all Uid)"
    [[ $(status_of_all Uid) == 10001 ]] || fail "the service runs as another user"
    capabilities=$(status_of_all CapBnd)
    fact capabilities "$capabilities"
    [[ $capabilities == 0000000000000000 ]] || fail "the service has capabilities"
    fact no_new_privileges "$(status_of_all NoNewPrivs)"
    [[ $(status_of_all NoNewPrivs) == 1 ]] || fail "the service may gain privileges"
    local folder
    for folder in / /srv/marrowscope/models /opt/venv /var/lib/marrowscope/audit /dev /run; do
        if inside touch "$folder/written" 2>/dev/null; then fail "$folder can be written"; fi
    done
    inside sh -c 'touch /tmp/written && rm /tmp/written' || fail "/tmp cannot be written"
    fact read_only_root true
}

# Files that the engine itself makes in every container are not counted.
check_nothing_written() {
    local written
    written=$(engine diff "$CONTAINER" | grep -vE '^[AC] /(etc|run|dev|proc|sys|tmp)(/(hosts|hostname|resolv\.conf|mtab|\.containerenv|secrets|init))?$' || true)
    [[ -z $written ]] || fail "written outside /tmp: $written"
    fact written_outside_tmp none
    fact tmp_kb "$(inside du -sk /tmp | cut -f1)"
}

# Checks that the container restarts after a crash. A `kill` by the engine would count as a wanted stop.
check_restart() {
    local before
    before=$(engine inspect -f '{{.State.StartedAt}}' "$CONTAINER")
    inside sh -c 'kill -KILL -1' || true
    for _ in $(seq 30); do
        [[ $(engine inspect -f '{{.State.StartedAt}}' "$CONTAINER") == "$before" ]] || break
        sleep 1
    done
    wait_until_healthy "$CONTAINER"
}

# Checks that the service does not start for other machines without keys.
check_refuses_without_keys() {
    if engine run --rm --network none marrowscope timeout 20 marrowscope serve --host 0.0.0.0 >"$WORK/refusal" 2>&1; then
        fail "it serves on 0.0.0.0 without keys"
    fi
    grep -q "marrowscope keys add" "$WORK/refusal" || fail "it does not say how to make a key: $(<"$WORK/refusal")"
    fact without_keys refused
}

find_engine
fact engine "$("$ENGINE" --version)"
timed base_seconds base_image
timed build_seconds build_quietly marrowscope serve marrowscope
timed healthy_seconds start
check_image
check_confinement
in_network "$PYTHON" container/compare.py "http://127.0.0.1:$PORT" "$FACTS"
check_nothing_written
timed restart_seconds check_restart
check_refuses_without_keys
timed stop_seconds engine stop --time 30 "$CONTAINER" >/dev/null
status=$(engine inspect -f '{{.State.ExitCode}}' "$CONTAINER")
# 143 means that TERM ended it after its requests were answered; 137 would mean that the engine killed it.
[[ $status =~ ^(0|143)$ ]] || fail "exit status $status on TERM"
fact exit_status "$status"
fact total_seconds "$SECONDS"
"$PYTHON" container/record.py "make container-test" "$FACTS" "$RECORD"
