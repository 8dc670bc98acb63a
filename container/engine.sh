# shellcheck shell=bash
# Uses Docker if it runs, otherwise podman and buildah: `engine`, `compose`, `build_image`, `in_network`.
# Debian needs these packages: buildah podman runc netavark aardvark-dns catatonit iptables iproute2 debootstrap.

BASE=$(sed -n "s/^FROM \([^ ]*\).*/\1/p" Dockerfile | head -n 1)
readonly BASE
readonly NETWORK=marrowscope-test

find_engine() {
    if docker info >/dev/null 2>&1; then
        ENGINE=docker
        return
    fi
    ENGINE=podman
    local program
    for program in buildah podman runc ip nsenter iptables; do
        command -v "$program" >/dev/null || fail "neither Docker nor $program is installed"
    done
    COMPOSE=$(command -v podman-compose || echo "$PYTHON -m podman_compose")
    [[ -d /run/systemd/system ]] || without_systemd
    # A network namespace keeps the ports and the firewall of this machine out of it.
    ip netns add "$NETWORK"
    nsenter --net="/run/netns/$NETWORK" ip link set lo up
}

# Configures what podman would otherwise ask systemd for.
without_systemd() {
    cat >"$WORK/containers.conf" <<-CONF
		[containers]
		default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
		log_driver = "k8s-file"
		[engine]
		runtime = "runc"
		cgroup_manager = "cgroupfs"
		events_logger = "file"
		[network]
		network_backend = "netavark"
	CONF
    export CONTAINERS_CONF=$WORK/containers.conf
}

in_network() {
    if [[ $ENGINE == docker ]]; then "$@"; else nsenter --net="/run/netns/$NETWORK" "$@"; fi
}

engine() { in_network "$ENGINE" "$@"; }

compose() {
    if [[ $ENGINE == docker ]]; then
        docker compose --project-name "$PROJECT" "$@"
    else
        # shellcheck disable=SC2086 # a command and its arguments
        in_network $COMPOSE --project-name "$PROJECT" "$@"
    fi
}

# Gets the official base image. If no registry can be reached, it makes one with Debian's own Python under that name.
base_image() {
    "$ENGINE" image inspect "$BASE" >/dev/null 2>&1 && return
    "$ENGINE" pull "$BASE" >/dev/null 2>&1 && return
    say "no registry is reached: a base image by debootstrap"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$WORK/rootfs" >"$WORK/debootstrap.log"
    # Like the official image, without package lists, manuals and translations.
    (cd "$WORK/rootfs" && rm -rf var/cache/apt/* var/lib/apt/lists/* usr/share/doc usr/share/man usr/share/info usr/share/locale)
    tar -C "$WORK/rootfs" -c . | "$ENGINE" import - "$BASE" >/dev/null
    rm -rf "$WORK/rootfs"
}

# build_image SERVICE REQUIREMENTS TAG builds the image of a service. docker-compose.yml has the same values for it.
build_image() {
    if [[ $ENGINE == docker ]]; then
        docker compose build "$1"
        return
    fi
    local certificates=()
    # In a network with its own certificate authority, pip must know that authority.
    if [[ -n ${PIP_CERT:-} ]]; then
        printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$WORK/pip.conf"
        certificates=(-v "$PIP_CERT:/etc/ssl/certs/ca-certificates.crt:ro" -v "$WORK/pip.conf:/etc/pip.conf:ro")
    fi
    # The image format of Docker has health checks; that of OCI has none.
    buildah bud --format docker --layers --isolation chroot --network host --pull-never "${certificates[@]}" \
        --build-arg "REQUIREMENTS=$2" --tag "$3" .
}
