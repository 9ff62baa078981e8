#!/bin/sh
# Runs on the build host as root; $1 is the root of the new system.
set -eu
root=$1

# Neither is shown on a screen.
rm -rf "$root"/usr/share/doc "$root"/usr/share/man "$root"/var/cache/apt/archives
