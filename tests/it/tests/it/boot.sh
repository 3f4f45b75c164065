# boot.sh FOLDER GROUP: systemd as the first process of new namespaces, over a copy-on-write view of this machine: what it
# writes goes to memory, /sys and the kernel's own settings are read-only. Ends with its first process.
set -e
folder=$1 group=$2
if [ -z "${BALLAST_INSIDE:-}" ]; then
    # Its control groups are its own.
    for root in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
        [ -e "$root/cgroup.procs" ] || continue
        mkdir "$root/$group"
        echo $$ >"$root/$group/cgroup.procs"
    done
    export BALLAST_INSIDE=1
    exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child bash "$0" "$@"
fi
mount --make-rprivate /
mkdir -p "$folder/view" "$folder/shared"
mount -t tmpfs tmpfs "$folder/view"
cd "$folder/view"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount --rbind /dev dev
mkdir -p opt/packages opt/shared
mount --bind "$folder/shared" opt/shared
cp "$BALLAST_PACKAGES"/*.deb opt/packages/
if [ -d /sys/fs/cgroup/systemd ]; then
    mount -t tmpfs tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
    hierarchy=0
else
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    hierarchy=1
fi
# Nothing of the machine's own services is started: the units under test hang on nothing.
for unit in ballast-agent.service.d/alone.conf ballast-liveness.service.d/alone.conf \
    ballast-controller.service.d/alone.conf ballast-test.target; do
    mkdir -p "$(dirname "etc/systemd/system/$unit")"
    printf '[Unit]\nDefaultDependencies=no\n' >"etc/systemd/system/$unit"
done
# The kernel makes no user namespace below a chroot.
printf 'Wants=\nAfter=\n[Service]\nPrivateUsers=no\n' >>etc/systemd/system/ballast-controller.service.d/alone.conf
export container=ballast
exec chroot . /lib/systemd/systemd --system --unit=ballast-test.target --show-status=0 --log-target=null \
    "systemd.unified_cgroup_hierarchy=$hierarchy"
