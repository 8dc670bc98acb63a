# shellcheck shell=bash
# Shared by both checks of containers: PYTHON, PROJECT, WORK, FACTS; `say`, `fail`, `fact`, `timed`, `clean_up`.

readonly PYTHON=${PYTHON:-$PWD/.venv/bin/python} PROJECT=marrowscope-test
WORK=$(mktemp -d)
readonly WORK FACTS=$WORK/facts

say() { echo "container: $*" >&2; }
fail() { say "FAILED: $*"; exit 1; }
fact() { printf '%s\t%s\n' "$1" "$2" >>"$FACTS"; say "$1: $2"; }

# shellcheck source=container/engine.sh
source container/engine.sh

# Removes all containers, including those that --scale added. It tries three times, because a container can only be
# removed after those that depend on it.
remove_containers() {
    local containers
    for _ in 1 2 3; do
        mapfile -t containers < <(engine ps --all --quiet --filter "label=com.docker.compose.project=$PROJECT")
        ((${#containers[@]} == 0)) || engine rm --force "${containers[@]}" || true
    done
}

clean_up() {
    local status=$?
    ((status == 0)) || [[ -z ${CONTAINER:-} ]] || engine logs --tail 20 "$CONTAINER" >&2 || true
    if [[ -n ${ENGINE:-} ]]; then
        remove_containers >/dev/null 2>&1 || true
        compose down --volumes >/dev/null 2>&1 || true
    fi
    [[ ${ENGINE:-} != podman ]] || ip netns delete "$NETWORK" || true
    rm -rf "$WORK"
}
trap clean_up EXIT

# Runs a command and records how many seconds it took.
timed() {
    local name=$1 begin=$EPOCHREALTIME
    shift
    "$@"
    fact "$name" "$(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $begin }")"
}

# Ends the check if the build fails, because an older image would be tested otherwise.
build_quietly() {
    build_image "$@" >"$WORK/build.log" 2>&1 || { tail -20 "$WORK/build.log" >&2; fail "the image cannot be built"; }
}

is_healthy() {
    # Without systemd, podman does not run health checks by itself.
    if [[ $ENGINE == podman ]]; then engine healthcheck run "$1" >/dev/null 2>&1; else
        [[ $(docker inspect -f '{{.State.Health.Status}}' "$1") == healthy ]]
    fi
}

wait_until_healthy() {
    for _ in $(seq 90); do
        if is_healthy "$1"; then return; fi
        sleep 1
    done
    fail "not healthy after 90 s: $1"
}
