# Changes the system of a NixOS guest, so that it finds its way back by itself. $1 is what
# to do: look [SYSTEM], diff OLD NEW, preview SYSTEM, or begin ID SCRIPT MODE SYSTEM
# GENERATION SECONDS LEASE; of a change that was begun with that ID status, confirm, revert
# and forget. run and rescue are begin's own, in a unit that outlives the connection.
PATH=/run/current-system/sw/bin:/run/wrappers/bin:${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin
HOME=/root
export PATH HOME
profile=/nix/var/nix/profiles/system
root=/nix/var/nix/gcroots/vmctl-system
d=/run/vmctl-system
unit=vmctl-system.service

say() { printf '%s\n' "$*" >"$d/state.new" && mv "$d/state.new" "$d/state"; }
seconds() { read -r up _ </proc/uptime && echo "${up%.*}"; }
seen() { seconds >"$d/seen.$$" && mv "$d/seen.$$" "$d/seen"; }
pause() { sleep 0.2 2>/dev/null || sleep 1; }
generation() { link=$(readlink "$profile") && link=${link##*/} && link=${link#system-} && echo "${link%-link}"; }
busy() { case $(systemctl is-active "$unit") in active | activating | deactivating | reloading) ;; *) false ;; esac; }
switch() { "$1/bin/switch-to-configuration" "$2"; }

# Says why there is no going on, if so.
over() {
	if [ -e "$d/revert" ]; then
		echo asked
	elif [ "$1" = activating ] && [ "$limit" -gt 0 ] && [ "$(seconds)" -ge "$limit" ]; then
		echo late
	elif [ "$1" = waiting ] && [ $(($(seconds) - $(cat "$d/seen"))) -ge "$lease" ]; then
		echo lost # nobody has asked how it stands
	fi
}

# Activates the new system in a session of its own, which can be given up as a whole.
activate() {
	rm -f "$d/ended"
	setsid /bin/sh -c '"$1/bin/switch-to-configuration" test; echo $? >"$2/ended.new"; mv "$2/ended.new" "$2/ended"' vmctl "$new" "$d" &
	child=$!
	until [ -s "$d/ended" ]; do
		why=$(over activating)
		if [ "$why" ]; then
			kill -s TERM -- "-$child" 2>/dev/null
			tries=25
			while kill -s 0 -- "-$child" 2>/dev/null && [ "$tries" -gt 0 ]; do tries=$((tries - 1)); pause; done
			kill -s KILL -- "-$child" 2>/dev/null
			return 1
		fi
		pause
	done
	status=$(cat "$d/ended")
	[ "$status" -eq 0 ] || { why="failed $status"; return 1; }
}

# Makes the new system the one that boots.
keep() {
	if [ "$number" -gt 0 ]; then
		nix-env -p "$profile" --switch-generation "$number"
	else
		nix-env -p "$profile" --set "$new"
	fi && switch "$new" boot
}

# Takes back what keep did.
restore() {
	made=$(generation)
	[ "$was" ] && [ "$made" != "$was" ] || return 0
	nix-env -p "$profile" --switch-generation "$was" && switch "$(readlink -f "$profile")" boot
	[ "$number" -gt 0 ] || nix-env -p "$profile" --delete-generations "$made"
}

back() {
	say "reverting $why"
	switch "$old" test
	say "reverted $why"
	exit 0
}

case $1 in
status | confirm | revert | forget)
	if [ "$(cat "$d/id" 2>/dev/null)" != "$2" ]; then
		echo none
		exit 0
	fi
	;;
esac
case $1 in
look)
	[ ! -e /etc/NIXOS ] || echo nixos
	! command -v nix-env >/dev/null || echo nix
	[ ! -d /run/systemd/system ] || ! command -v systemd-run >/dev/null || echo systemd
	echo "current $(readlink -f /run/current-system)"
	echo "booted $(readlink -f /run/booted-system)"
	echo "profile $(readlink -f "$profile")"
	echo "generation $(generation)"
	for link in "$profile"-*-link; do
		[ -L "$link" ] || continue
		number=${link##*/system-}
		echo "known ${number%-link} $(stat -c %Y "$link") $(readlink "$link")"
	done
	if [ "${2:-}" ] && [ -e "$2" ]; then
		echo there
		for part in kernel initrd kernel-modules; do
			[ "$(readlink "$2/$part")" = "$(readlink "/run/booted-system/$part")" ] || echo "reboot $part"
		done
	fi
	systemctl list-units --failed --plain --no-legend --no-pager 2>/dev/null | while read -r name _; do echo "failed $name"; done
	;;
diff) exec nix --extra-experimental-features nix-command store diff-closures "$2" "$3" ;;
preview) switch "$2" dry-activate ;;
begin)
	if busy; then
		echo 'its system is being changed by another vmctl' >&2
		exit 75
	fi
	rm -rf "$d"
	mkdir -m 700 "$d" && printf '%s' "$3" >"$d/script" && echo "$2" >"$d/id" && say starting && seen || exit 1
	shift 3
	systemctl reset-failed "$unit" 2>/dev/null
	# Whatever ends the unit, rescue has the last word.
	exec systemd-run --quiet --collect --unit="$unit" --description='Change the system for vmctl' \
		--setenv=PATH="$PATH" --property=TimeoutStopSec=10min --property=ExecStopPost="/bin/sh $d/script rescue" \
		/bin/sh "$d/script" run "$@"
	;;
run)
	mode=$2 new=$3 number=$4 limit=$5 lease=$6
	exec >"$d/log" 2>&1 </dev/null
	[ "$limit" -eq 0 ] || limit=$(($(seconds) + limit))
	old=$(readlink -f /run/current-system)
	was=$(generation)
	printf '%s\n' "$old" "$was" "$number" >"$d/before"
	mkdir -p "${root%/*}" && ln -sfn "$new" "$root" # until the profile keeps it
	why=
	if [ "$mode" != boot ]; then
		say activating
		activate || back
		seen
		say waiting
		until [ -e "$d/confirm" ]; do
			why=$(over waiting)
			[ ! "$why" ] || back
			pause
		done
	fi
	if [ "$mode" != test ]; then
		say keeping
		if ! keep; then
			restore
			why='not kept'
			[ "$mode" = boot ] || back
			say "reverted $why"
			exit 0
		fi
	fi
	say "done"
	;;
rescue)
	trap 'rm -f "$root"' EXIT
	exec >>"$d/log" 2>&1 </dev/null
	case $(cat "$d/state") in
	done | reverted*) ;;
	*)
		why=killed
		{ read -r old && read -r was && read -r number; } <"$d/before" && restore
		[ "$old" = "$(readlink -f /run/current-system)" ] || back
		say "reverted $why"
		;;
	esac
	;;
status)
	seen
	cat "$d/state"
	tail -n 40 "$d/log" 2>/dev/null
	exit 0
	;;
confirm)
	[ -e "$d/confirm" ] || { [ "$(cat "$d/state")" = waiting ] && : >"$d/confirm"; }
	;;
revert) : >"$d/revert" ;;
forget)
	tries=25
	while busy && [ "$tries" -gt 0 ]; do tries=$((tries - 1)); pause; done
	busy || rm -rf "$d"
	;;
esac
