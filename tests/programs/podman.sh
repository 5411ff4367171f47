#!/usr/bin/env bash
# A container of podman's whose network is weir-gate, as an ordinary user: it fetches a page from its host, and its host one
# from it, by each of podman's two ways to publish a port. Prints the three pages, or why none can be had here (status 77).
# usage, as root in a network namespace of its own: podman.sh GATE HOST
set -eu
gate=$1 host=$2
# Its own mounts, and its own processes: what podman leaves behind ends with the script.
[ "${3:-}" = --private ] || exec unshare -m -p -f --mount-proc --kill-child -- "$0" "$gate" "$host" --private

cannot() {
  echo "SKIPPED: $*"
  exit 77
}
for program in podman crun newuidmap busybox setpriv curl python3; do
  command -v $program >/dev/null || cannot "no $program (packages podman, crun, uidmap, busybox)"
done

work=$(mktemp -d)
uid=4242 server= container=
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  pkill -KILL -u $uid 2>/dev/null || true
  for _ in $(seq 50); do
    rm -rf "$work" 2>/dev/null && break
    sleep 0.1
  done
}
trap finish EXIT

# A user with a range of others, a device that it may open, and control groups as crun knows them: for this test only.
for file in passwd group subuid subgid; do
  cp "/etc/$file" "$work/$file" 2>/dev/null || : >"$work/$file"
  [ -e "/etc/$file" ] || cannot "no /etc/$file"
done
echo "weir:x:$uid:$uid::$work/home:/bin/sh" >>"$work/passwd"
echo "weir:x:$uid:" >>"$work/group"
echo "weir:1000000:65536" | tee -a "$work/subuid" >>"$work/subgid"
mknod -m 0666 "$work/tun" c 10 200 2>/dev/null || cannot "no device node can be made here: it takes root"
chmod 0666 "$work/tun"
chmod 0755 "$work"
for file in passwd group subuid subgid; do mount --bind "$work/$file" "/etc/$file"; done
mount --bind "$work/tun" /dev/net/tun
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
  umount -R /sys/fs/cgroup 2>/dev/null || true
  mount -t cgroup2 none /sys/fs/cgroup || cannot "control groups of version 2 cannot be mounted here"
fi
mount --make-rshared /

home=$work/home root=$work/home/root
mkdir -p "$root"/{bin,lib,etc,proc,sys,dev,tmp,www} "$home/.config/containers" "$work/run" "$work/www"
cp "$(command -v busybox)" "$root/bin/busybox"
# Where it is linked with libraries, these too.
ldd "$root/bin/busybox" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do cp --parents "$library" "$root"; done || true
for applet in wget httpd; do ln -s busybox "$root/bin/$applet"; done
cp "$gate" "$home/slirp4netns"
echo "the container's page" >"$root/www/index.html"
echo "the host's page" >"$work/www/index.html"
cat >"$home/.config/containers/containers.conf" <<END
[engine]
network_cmd_path = "$home/slirp4netns"
cgroup_manager = "cgroupfs"
events_logger = "file"
END
printf '[storage]\ndriver = "vfs"\n' >"$home/.config/containers/storage.conf"
chown -R $uid:$uid "$home" "$work/run"
chmod 0700 "$work/run"

podman_run() {
  cd "$home"
  exec setpriv --reuid $uid --regid $uid --clear-groups env -i PATH="$PATH" HOME="$home" XDG_RUNTIME_DIR="$work/run" \
    podman run --rm --cgroups=disabled "$@"
}
tried=$( (podman_run --network none --rootfs "$root" /bin/busybox true) 2>&1) || cannot "podman starts no container here: $tried"

(cd "$work/www" && exec python3 -m http.server --bind "$host" 8000 >/dev/null 2>&1) &
server=$!
for _ in $(seq 100); do
  curl --silent --fail --max-time 1 "http://$host:8000/" >/dev/null && break
  sleep 0.1
done
(podman_run --network slirp4netns --rootfs "$root" /bin/wget -q -O - "http://$host:8000/")
for handler in rootlesskit slirp4netns; do
  (podman_run --network slirp4netns:port_handler=$handler -p 8088:80 --rootfs "$root" /bin/httpd -f -p 80 -h /www) \
    >"$work/container.log" 2>&1 &
  container=$!
  page=
  for _ in $(seq 100); do
    page=$(curl --silent --fail --max-time 2 http://127.0.0.1:8088/) && break
    sleep 0.1
  done
  [ -n "$page" ] || cat "$work/container.log" >&2
  echo "by $handler: $page"
  pkill -KILL -u $uid -x busybox || pkill -KILL -u $uid -x httpd || true
  wait "$container" || true
done
