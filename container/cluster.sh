#!/usr/bin/env bash
# Builds the image for batches, runs the cluster as docker-compose.yml says, and kills a worker while it is at work.
# Usage: bash container/cluster.sh [RECORD.json]     PYTHON names a Python with the batch requirements (.venv/bin/python).
set -euo pipefail
cd "$(dirname "$0")/.."

readonly RECORD=${1:-docs/reliability/cluster.json}
export CLUSTER_PORT=${CLUSTER_PORT:-8000}

# shellcheck source=container/common.sh
source container/common.sh

readonly SLIDES=$WORK/slides OUTSIDE=$WORK/outside
export SLIDES

# container_of SERVICE [NUMBER] prints the id of one container of a service.
container_of() {
    engine ps --quiet --filter "label=com.docker.compose.project=$PROJECT" --filter "label=com.docker.compose.service=$1" |
        sed -n "${2:-1}p"
}

# Makes a cohort of several copies of the sample, and of public tiles if the data are available. Any user may read it.
make_slides() {
    local number data=${MARROWSCOPE_DATA:-../shared/data}
    mkdir -p "$SLIDES/cohort"
    for number in 1 2 3 4; do cp models/marrow/sample.png "$SLIDES/cohort/sample-$number.png"; done
    cp "$data"/bm_graz/tiles/BM_GRAZ_HE_000*.png "$SLIDES/cohort" 2>/dev/null || true
    chmod -R a+rX "$WORK"
    fact slides "$(find "$SLIDES" -type f | wc -l)"
}

start() {
    compose --profile cluster up --no-build --detach --scale worker=2 marrowscope-cluster
    CONTAINER=$(container_of marrowscope-cluster)
    [[ -n $CONTAINER && -n $(container_of worker 2) ]] || fail "compose did not start the service and two workers"
    for service in scheduler worker marrowscope-cluster; do wait_until_healthy "$(container_of "$service")"; done
}

# Checks that only containers on the network of the scheduler can reach it, because they can run any code there.
check_scheduler_is_apart() {
    local address
    address=$(engine exec "$(container_of scheduler)" hostname -i)
    reach() {
        engine run --rm --network "$PROJECT"_"$1" marrowscope:batch \
            python3 -c "import socket; socket.create_connection(('$address', 8786), 3)" 2>/dev/null
    }
    reach cluster || fail "the scheduler cannot be reached within its network"
    if reach default; then fail "the scheduler can be reached from another network"; fi
    fact scheduler_from_another_network unreachable
}

find_engine
fact engine "$("$ENGINE" --version)"
timed base_seconds base_image
timed build_seconds build_quietly marrowscope-cluster batch marrowscope:batch
fact image_mb $(($(engine image inspect -f '{{.Size}}' marrowscope:batch) / 1000000))
make_slides
"$PYTHON" -m app batch "$SLIDES/cohort" --out "$OUTSIDE"
timed healthy_seconds start
check_scheduler_is_apart
fact workers 2
in_network "$PYTHON" container/cluster.py "http://127.0.0.1:$CLUSTER_PORT" "$OUTSIDE" "$FACTS" \
    "$ENGINE" exec "$(container_of worker)" sh -c 'kill -KILL -1'
fact total_seconds "$SECONDS"
"$PYTHON" container/record.py "make cluster-test" "$FACTS" "$RECORD"
