#!/bin/sh
# Takes what vmctl hands to this machine on a small disk, and gives the disk back, which
# tells vmctl that nothing of it is needed any more. It runs as root: early in the boot,
# before services, and whenever a disk with the serial vmctl-creds appears. What vmctl
# hands over through the guest's agent is a file, which is the argument then.
#
# It is a tar archive without a file system around it:
#   credstore/NAME   goes to /run/credstore, where systemd finds LoadCredential=NAME
#   persist/NAME     too, and is kept for boots at which there is no disk
#   ssh/FILE         goes to /etc/ssh
#   complete         is there when it has everything: what was kept before is forgotten
set -eu
umask 077
store=/run/credstore
kept=/var/lib/vmctl/credentials
# What systemd itself imported when it began (fw_cfg), which hides the store.
system=/run/credentials/@system

pack=${1-} disk=
for block in /sys/block/vd*; do
	[ -z "$pack" ] || break
	if [ "$(cat "$block/serial" 2>/dev/null)" = vmctl-creds ]; then
		disk=${block##*/}
	fi
done

# put FILE DIRECTORY MODE: replaces a file of that name in one step.
put() {
	mkdir -p "$2"
	cp "$1" "$2/.vmctl-new"
	chmod "$3" "$2/.vmctl-new"
	mv -f "$2/.vmctl-new" "$2/${1##*/}"
}

# renew FILE: what systemd has imported under its name is replaced, too.
renew() {
	[ -e "$system/${1##*/}" ] || return 0
	mount -o remount,rw "$system"
	put "$1" "$system" 400
	mount -o remount,ro "$system"
}

# keep FILE: systemd-creds encrypts with the TPM where there is one, else with a key that
# lies on the same disk.
keep() {
	mkdir -p "$kept"
	if command -v systemd-creds >/dev/null; then
		systemd-creds encrypt --name="${1##*/}" "$1" "$kept/.new"
		mv -f "$kept/.new" "$kept/${1##*/}.cred"
	else
		put "$1" "$kept" 400
	fi
}

# restore FILE: back to where systemd looks.
restore() {
	mkdir -p "$store"
	case $1 in
	*.cred)
		name=${1##*/}
		name=${name%.cred}
		systemd-creds decrypt --name="$name" "$1" "$store/.vmctl-new"
		chmod 400 "$store/.vmctl-new"
		mv -f "$store/.vmctl-new" "$store/$name"
		;;
	*) put "$1" "$store" 400 ;;
	esac
}

if [ -z "$pack$disk" ]; then
	for file in "$kept"/*; do
		if [ -f "$file" ] && ! restore "$file"; then
			echo "vmctl: ${file##*/} cannot be restored" >&2
		fi
	done
	exit 0
fi

# In memory, and nowhere else.
new=/run/vmctl/credentials
rm -rf "$new"
mkdir -p "$new"
trap 'rm -rf "$new"' EXIT
tar -C "$new" -xf "${pack:-/dev/$disk}"
if [ -e "$new/complete" ]; then
	rm -rf "$kept"
fi
for file in "$new"/credstore/* "$new"/persist/*; do
	[ -f "$file" ] || continue
	put "$file" "$store" 400
	renew "$file"
done
for file in "$new"/persist/*; do
	[ ! -f "$file" ] || keep "$file"
done
for file in "$new"/ssh/*; do
	[ -f "$file" ] || continue
	case $file in
	*.pub) mode=644 ;;
	*) mode=600 ;;
	esac
	cmp -s "$file" "/etc/ssh/${file##*/}" || (umask 022 && put "$file" /etc/ssh "$mode")
done
rm -rf "$new"
[ -z "$pack" ] || exit 0

# The slot is switched off: the machine loses the disk, and its host hears of it.
device=$(readlink -f "/sys/block/$disk/device")
address=${device%/*}
address=${address##*/}
for slot in /sys/bus/pci/slots/*; do
	if [ "$(cat "$slot/address" 2>/dev/null)" = "${address%.*}" ]; then
		echo 0 >"$slot/power"
	fi
done
