#!/usr/bin/env bash
# Makes a whole Debian with systemd:
#   build.sh packages OUT.tar                              asks Debian's servers
#   build.sh image IN.tar TINY.qcow2 CREDENTIALS.sh OUT.qcow2
#
# The boot loader, the kernel and the initramfs are those of images/tiny: its root file
# system, found by its label, is replaced. Needs root, and Debian's packages.
set -euo pipefail
umask 022
if [ "$1" = packages ]; then
	mmdebstrap --quiet --variant=minbase --mode=root --format=tar \
		--include=systemd-sysv,udev,dbus,openssh-server,qemu-guest-agent,nix-bin \
		--aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		bookworm "$2.new"
	mv "$2.new" "$2"
	exit
fi
tar=$(realpath "$2") tiny=$(realpath "$3") script=$(realpath "$4") out=$(realpath "$5")
files=$(realpath "$(dirname "$0")")/root
work=$(mktemp -d /var/tmp/vmctl-debian.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"

mkdir rootfs
tar -C rootfs -xf "$tar" --exclude='./dev/*'
rm -rf rootfs/etc/ssh/ssh_host_* rootfs/var/lib/apt/lists/* rootfs/var/cache/apt/*
cp -r "$files/." rootfs/
install -D -m 755 "$script" rootfs/usr/lib/vmctl/credentials
echo keeper >rootfs/etc/hostname
: >rootfs/etc/machine-id
passwd --root "$work/rootfs" --delete root >/dev/null
: >rootfs/etc/NIXOS
for name in nix nix-env nix-store; do
	install -D -m 755 "$files/../nix.sh" "rootfs/usr/local/bin/$name"
done
for unit in vmctl-credentials.service:sysinit.target test.service:multi-user.target ssh.service:multi-user.target \
	systemd-networkd.service:multi-user.target nixos.service:multi-user.target; do
	mkdir -p "rootfs/etc/systemd/system/${unit#*:}.wants"
	path=/etc/systemd/system/${unit%:*}
	[ -e "rootfs$path" ] || path=/lib/systemd/system/${unit%:*}
	ln -sf "$path" "rootfs/etc/systemd/system/${unit#*:}.wants/"
done

# Software emulation starts a program in a tenth of a second: what no test looks at is left out,
# and udev has no rules but for what there is.
for unit in modprobe@.service dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
	sys-kernel-config.mount sys-fs-fuse-connections.mount kmod-static-nodes.service systemd-modules-load.service \
	systemd-random-seed.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
	systemd-sysctl.service systemd-remount-fs.service systemd-journal-flush.service systemd-fsckd.socket \
	systemd-fsckd.service systemd-pstore.service e2scrub_reap.service e2scrub_all.timer fstrim.timer \
	apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer getty.target systemd-ask-password-console.path \
	systemd-ask-password-wall.path systemd-initctl.socket systemd-journald-audit.socket; do
	ln -sf /dev/null "rootfs/etc/systemd/system/$unit"
done
find rootfs/lib/systemd/system-generators -type f ! -name systemd-fstab-generator -delete
find rootfs/lib/udev/rules.d -type f ! -name '50-udev-default.rules' ! -name '60-persistent-storage.rules' ! -name '60-qemu-guest-agent.rules' \
	! -name '70-power-switch.rules' ! -name '75-net-description.rules' ! -name '99-systemd.rules' -delete
rm -f rootfs/lib/udev/hwdb.bin rootfs/etc/udev/hwdb.bin

qemu-img convert -O raw "$tiny" disk.img
start=$(sfdisk -J disk.img | grep -o '"start": *[0-9]*' | tail -1 | grep -o '[0-9]*')
truncate -s 700M root.img
mke2fs -q -F -t ext4 -L tiny -m 0 -O ^has_journal -E lazy_itable_init=0 -d rootfs root.img
truncate -s "$((start * 512))" disk.img
truncate -s "$((start * 512 + (700 << 20)))" disk.img
echo ", +" | sfdisk -q -N 2 --force disk.img
dd if=root.img of=disk.img bs=1M seek="$((start * 512))" oflag=seek_bytes conv=notrunc,sparse status=none
qemu-img convert -f raw -O qcow2 disk.img "$out.new"
mv "$out.new" "$out"
