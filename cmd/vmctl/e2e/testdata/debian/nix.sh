#!/bin/sh
# nix with the store directory of the tests' own, which what they build belongs into.
export NIX_STORE_DIR=/var/tmp/vmctl-test-0/store NIX_REMOTE= NIX_CONF_DIR=/etc/nix
exec "/usr/bin/${0##*/}" "$@"
