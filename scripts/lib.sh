# Sourced by the entry points: installs what they need, where it is absent.

# need_root_packages COMMAND:PACKAGE ...  Debian packages for commands that are missing.
need_root_packages() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" != 0 ]; then
        echo "missing: ${missing[*]}; install them as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    echo "installing ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

# need_cargo_tool NAME  A cargo subcommand from the registry.
need_cargo_tool() {
    cargo "${1#cargo-}" --version >/dev/null 2>&1 && return
    echo "installing $1" >&2
    cargo install --locked --quiet "$1"
}

# step NAME COMMAND...  Says what runs and how long it took.
step() {
    local name=$1 begin=$SECONDS
    shift
    echo "== $name" >&2
    "$@"
    echo "== $name: $((SECONDS - begin)) s" >&2
}

# sweep_labs  Takes down labs of tests that were killed.
sweep_labs() {
    if [ -x target/debug/ballast ] && [ "$(id -u)" = 0 ]; then
        target/debug/ballast lab sweep
    fi
}
