# Runs a program for the agent: $1 is a directory to make, $2 says how (s: standard input
# comes in pieces, b: large output leaves in pieces), the rest is the program.
d=$1 how=$2
shift 2
PATH=${PATH:+$PATH:}/run/wrappers/bin:/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Services have no home directory, or one that nobody means.
[ "${HOME:-/}" != / ] || HOME=/root
export PATH HOME
mkdir -m 700 "$d" || exit 125
feeder='' pump=''
case $how in *s*)
	# Pieces are files; each one's number comes through a pipe, whose end is the end.
	mkfifo "$d/in" "$d/next"
	while read -r n; do
		cat "$d/in.$n"
		rm -f "$d/in.$n"
	done <"$d/next" >"$d/in" 2>/dev/null &
	feeder=$!
	;;
esac
case $how in *b*)
	# At most four pieces wait to be fetched; a line through the pipe says that one was.
	mkfifo "$d/out" "$d/ack"
	{
		n=0
		while dd bs=65536 count=16 iflag=fullblock of="$d/part" 2>/dev/null && [ -s "$d/part" ]; do
			mv "$d/part" "$d/out.$n"
			n=$((n + 1))
			if [ "$n" -ge 4 ]; then
				read -r fetched <&3
				rm -f "$d/out.$((n - 4))"
			fi
		done
	} <"$d/out" 3<>"$d/ack" &
	pump=$!
	;;
esac
cd "$HOME" 2>/dev/null || cd /
# A group of its own, so that all it starts can be stopped with it.
own=$(command -v setsid)
run='echo "$1$$" >"$2/pid"; shift 2; exec "$@"'
if [ "$feeder" ]; then
	$own /bin/sh -c "$run" vmctl "${own:+-}" "$d" "$@" <"$d/in" >"$d/out" 2>"$d/err"
else
	$own /bin/sh -c "$run" vmctl "${own:+-}" "$d" "$@" >"$d/out" 2>"$d/err"
fi
status=$?
[ -z "$feeder" ] || kill "$feeder" 2>/dev/null
if [ "$pump" ]; then
	wait "$pump"
elif [ $(($(wc -c <"$d/out") + $(wc -c <"$d/err"))) -le 65536 ]; then
	# Little output goes with the status.
	cat "$d/out"
	cat "$d/err" >&2
	# Input may still come, into a directory that goes; it is swept then.
	rm -rf "$d" 2>/dev/null
fi
exit "$status"
