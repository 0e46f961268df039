# Looks after one volume: $1 is mount, unmount or grow, $2 its device. mount has $3 where,
# $4 the file system, and $5 its options.
disk=$2
targets() { disk=$(readlink -f "$disk") && awk -v disk="$disk" '$1 == disk { print $2, $3 }' /proc/mounts; }
case $1 in
mount)
	tries=50
	until [ -b "$2" ]; do # it was attached a moment ago
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || { echo "$2 does not appear" >&2; exit 1; }
		sleep 0.2
	done
	[ -z "$(targets)" ] || exit 0
	disk=$(readlink -f "$2")
	case $5 in
	*ro*) ;;
	*)
		if [ "$(dd if="$disk" bs=65536 count=16 2>/dev/null | tr -d '\0' | wc -c)" -eq 0 ]; then
			"mkfs.$4" -q "$disk" || exit 1
		fi
		;;
	esac
	mkdir -p "$3" && exec mount -t "$4" -o "$5" "$disk" "$3"
	;;
unmount)
	sync
	targets | while read -r target _; do umount "$target" || exit 1; done
	;;
grow)
	targets | head -n 1 | while read -r target type; do
		case $type in
		ext*) exec resize2fs "$(readlink -f "$2")" ;;
		xfs) exec xfs_growfs "$target" ;;
		btrfs) exec btrfs filesystem resize max "$target" ;;
		esac
	done
	;;
esac
