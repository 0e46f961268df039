# Builds the disk image: without root, loop devices or mounts, and with a fixed clock
# and fixed identifiers, so that the same machine makes the same image twice.
#
#   MBR    syslinux's boot code, for BIOS
#   part 1 FAT: kernel, initramfs, syslinux and GRUB's EFI loader. An EFI system partition
#   part 2 ext4, label "tiny": the root file system
set -euo pipefail
umask 022
export LC_ALL=C SOURCE_DATE_EPOCH=1 E2FSPROGS_FAKE_TIME=1
: "${boot:?}" "${root:?}" "${out:?}" # nix sets these

# --- What the build takes from the machine ------------------------------------------

missing=()
need() { # PROGRAM-OR-FILE PACKAGE
	command -v "$1" >/dev/null || [ -e "$1" ] && return
	case " ${missing[*]} " in
	*" $2 "*) ;; # another program of the same package
	*) missing+=("$2") ;;
	esac
}
need busybox busybox-static
need dropbear dropbear-bin
need dropbearkey dropbear-bin
need /usr/lib/openssh/sftp-server openssh-sftp-server
need qemu-ga qemu-guest-agent
need modprobe kmod
need cpio cpio
need sfdisk fdisk
need mke2fs e2fsprogs
need mkfs.vfat dosfstools
need mcopy mtools
need syslinux syslinux
need /usr/lib/syslinux/mbr/mbr.bin syslinux-common
need grub-mkimage grub-common
need /usr/lib/grub/x86_64-efi/linux.mod grub-efi-amd64-bin
need qemu-img qemu-utils

# The cloud kernel starts fastest; any other that may be read does too.
kernel=
for k in /boot/vmlinuz-*-cloud-amd64 /boot/vmlinuz-*; do
	if [ -r "$k" ] && [ -d "/lib/modules/${k#*vmlinuz-}" ]; then
		kernel=$k
		break
	fi
done
[ -n "$kernel" ] || missing+=(linux-image-cloud-amd64)

if [ "${#missing[@]}" -gt 0 ]; then
	echo "error: this image is made of the machine's own packages, and some are missing" >&2
	echo "hint: apt-get install ${missing[*]}" >&2
	[ -n "$kernel" ] || echo "hint: Ubuntu lets only root read its kernels: chmod a+r /boot/vmlinuz-*" >&2
	exit 1
fi
version=${kernel#*vmlinuz-}
echo "kernel $version"

# --- The initramfs: find the root file system, grow its partition, mount it ------------

mkdir -p initramfs/{bin,dev,proc,sys,mnt,modules}
install -m 755 "$(command -v busybox)" initramfs/bin/busybox
install -m 755 "$boot/init" initramfs/init

# Everything is loaded here, in this order; the root file system has no modules. What
# the kernel has built in, modprobe does not list.
for module in virtio_pci virtio_blk ext4 virtio_net virtio_console virtio_balloon virtio_rng virtiofs button evdev isofs qemu_fw_cfg; do
	modprobe -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
	name=$(basename "$file")
	case $name in
	*.zst) zstd -qdo "initramfs/modules/${name%.zst}" "$file" ;;
	*.xz) xz -dc "$file" >"initramfs/modules/${name%.xz}" ;;
	*) cp "$file" initramfs/modules ;;
	esac
	echo "${name%.ko*}.ko" >>initramfs/modules/order
done
chmod -R u+w initramfs
find initramfs -exec touch -hd @1 {} +
(cd initramfs && find . | LC_ALL=C sort | cpio --quiet --reproducible -R 0:0 -o -H newc) | gzip -9n >initrd

# --- The root file system ----------------------------------------------------------------

cp -r "$root" rootfs
chmod -R u+w rootfs
mkdir -p rootfs/{bin,sbin,dev,proc,sys,run,mnt,root,var/log,usr/{bin,sbin,lib}}
mkdir -m 1777 rootfs/tmp
cp initramfs/bin/busybox rootfs/bin/busybox
for applet in $(busybox --list); do
	[ -e "rootfs/sbin/$applet" ] || [ -e "rootfs/bin/$applet" ] || ln -s busybox "rootfs/bin/$applet"
done
ln -s ../bin/busybox rootfs/sbin/init
ln -s /proc/mounts rootfs/etc/mtab
ln -s /run/resolv.conf rootfs/etc/resolv.conf
ln -s ../run rootfs/var/run

# Programs that Debian links dynamically come with the libraries they ask for.
for program in dropbear dropbearkey dropbearconvert qemu-ga resize2fs mke2fs /usr/lib/openssh/sftp-server; do
	file=$(command -v "$program")
	install -m 755 "$file" "rootfs/usr/sbin/${program##*/}"
	ldd "$file" | grep -o '/[^ ]*' | while read -r library; do
		mkdir -p "rootfs$(dirname "$library")"
		cp -L "$library" "rootfs$library"
	done
done
ln -s ../sbin/sftp-server rootfs/usr/lib/sftp-server # where dropbear looks for it
ln -s mke2fs rootfs/usr/sbin/mkfs.ext4
truncate -s 64M root.img
mke2fs -q -F -t ext4 -L tiny -m 0 -O ^has_journal -I 256 -E root_owner=0:0,lazy_itable_init=0 \
	-U 7a1b7c1e-0000-4000-8000-000000000001 -E hash_seed=7a1b7c1e-0000-4000-8000-000000000002 root.img

# mke2fs -d would take the files in the order in which the build's file system happens to
# list them, with the builder as their owner and the build's times.
find rootfs -mindepth 1 -printf '%P\t%y\t%m\t%l\n' | sort | while IFS=$'\t' read -r path type mode target; do
	echo "cd \"/$(dirname "$path")\""
	name=$(basename "$path")
	owner=0
	case $path in
	home/tarn) owner=1000 mode=700 ;;
	home/tarn/*) owner=1000 ;;
	etc/shadow) mode=600 ;;
	bin/busybox) mode=4755 ;; # for su; busybox drops the rights in all else
	esac
	case $type in
	d) echo "mkdir \"$name\"" && kind=40000 ;;
	f) echo "write \"rootfs/$path\" \"$name\"" && kind=100000 ;;
	l) echo "symlink \"$name\" \"$target\"" && kind=120000 ;;
	esac
	mode=$(printf 0%o $((8#$kind | 8#$mode)))
	for field in "mode $mode" "uid $owner" "gid $owner" "mtime @1" "atime @1" "ctime @1" "crtime @1" \
		"mtime_extra 0" "atime_extra 0" "ctime_extra 0" "crtime_extra 0"; do
		echo "sif \"$name\" $field"
	done
done >files
debugfs -w -f files root.img >debugfs.log 2>&1
if grep -vE '^(debugfs|Allocated inode)' debugfs.log; then
	echo "error: the root file system could not be filled" >&2
	exit 1
fi
e2fsck -fn root.img >e2fsck.log 2>&1 || { cat e2fsck.log >&2; exit 1; }

# --- The boot partition ------------------------------------------------------------------

grub-mkimage -O x86_64-efi -o BOOTX64.EFI -p / -c "$boot/grub.cfg" \
	part_msdos fat search search_fs_file linux normal echo all_video
kib=$(du -ck --apparent-size "$kernel" initrd BOOTX64.EFI | awk 'END { print $1 }')
mib=$((kib / 1024 + 2))
truncate -s "${mib}M" boot.img
mkfs.vfat -n TINYBOOT -i 7A1B0001 --invariant boot.img >/dev/null
export MTOOLS_SKIP_CHECK=1
mmd -i boot.img ::/EFI ::/EFI/BOOT
cp "$kernel" vmlinuz
touch -d @1 BOOTX64.EFI vmlinuz initrd
mcopy -m -i boot.img BOOTX64.EFI ::/EFI/BOOT/BOOTX64.EFI
mcopy -m -i boot.img vmlinuz initrd "$boot/syslinux.cfg" ::/
syslinux --install boot.img

# --- The disk ----------------------------------------------------------------------------

truncate -s "$((1 + mib + 64))M" disk.img
sfdisk -q disk.img <<-END
	label: dos
	label-id: 0x7a1b7c1e
	start=1MiB, size=${mib}MiB, type=ef, bootable
	start=$((1 + mib))MiB, type=83
END
dd if=/usr/lib/syslinux/mbr/mbr.bin of=disk.img bs=440 count=1 conv=notrunc status=none
dd if=boot.img of=disk.img bs=1M seek=1 conv=notrunc,sparse status=none
dd if=root.img of=disk.img bs=1M seek=$((1 + mib)) conv=notrunc,sparse status=none

mkdir -p "$out/nix-support"
qemu-img convert -f raw -O qcow2 disk.img "$out/tiny.qcow2"
# The same note that NixOS's make-disk-image leaves: this is how vmctl finds the file.
echo "file qcow2-image $out/tiny.qcow2" >"$out/nix-support/hydra-build-products"
