#!/bin/sh
# Runs on the build host as root; $1 is the root of the new system.
set -eu
root=$1

for entry in "$root"/* "$root"/.[!.]*; do
    # The builder has its own file systems mounted at these while this runs.
    case ${entry##*/} in bin|dev|proc|sys|'*'|'.[!.]*') ;; *) rm -rf "$entry" ;; esac
done
find "$root/bin" -mindepth 1 ! -name busybox -delete
mkdir -p "$root/sbin" "$root/usr/bin" "$root/usr/sbin" "$root/proc" "$root/sys" "$root/etc" \
    "$root/root" "$root/run" "$root/var/tmp"
mkdir -m 1777 -p "$root/tmp"
printf 'root:x:0:0:root:/root:/bin/sh\n' > "$root/etc/passwd"
printf 'root:x:0:\n' > "$root/etc/group"
for applet in $("$root/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
