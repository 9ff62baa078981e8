#!/bin/sh
# Runs on the build host as root; $1 is the root of the new system.
set -eu
root=$1

chroot "$root" useradd --create-home --shell /bin/bash --uid 1000 user
printf 'user ALL=(ALL:ALL) NOPASSWD: ALL\n' > "$root/etc/sudoers.d/user"
chmod 0440 "$root/etc/sudoers.d/user"
install -d -o 1000 -g 1000 "$root/workspace"

# A sandbox is itself the environment: pip may install into it, as its users expect.
rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
# apt's own sandbox user needs capabilities that a sandbox does not have.
printf 'APT::Sandbox::User "root";\n' > "$root/etc/apt/apt.conf.d/90sandbox"
