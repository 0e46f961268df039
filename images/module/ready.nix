# Tells vmctl when the system is ready, by one line of JSON for each report on the virtio
# port org.vmctl.0: its addresses, its ssh server's host keys, and what failed. The first
# line only promises that another one follows.
{ config, pkgs, ... }:
let
  keys = builtins.concatStringsSep " " (map (key: "'${key.path}.pub'") (config.services.openssh.hostKeys or [ ]));
in
{
  systemd.services.vmctl-report = {
    description = "Report to vmctl that the system is ready";
    wantedBy = [ "multi-user.target" ];
    before = [ "qemu-guest-agent.service" ]; # whose answer would be taken for the sign
    unitConfig.ConditionPathExists = "/dev/virtio-ports/org.vmctl.0";
    path = [ pkgs.gawk pkgs.iproute2 pkgs.jq ];
    serviceConfig = {
      Restart = "on-failure";
      RestartSec = 5;
    };
    script = ''
      exec 3>/dev/virtio-ports/org.vmctl.0
      # A write waits until somebody reads.
      echo '{"vmctl":1,"state":"booting"}' >&3

      list() { # makes the lines of standard input a list of JSON strings
        jq -cRn '[inputs | select(length > 0)]'
      }
      # Degraded is ready, too: what failed stands in the report.
      systemctl is-system-running --wait >/dev/null || true
      while :; do
        addresses=$(ip -o addr show scope global | awk '{ sub("/.*", "", $4); print $4 }' | list)
        hostKeys=$(cat /dev/null ${keys} 2>/dev/null | awk '{ print $1 " " $2 }' | list)
        failed=$(systemctl list-units --failed --plain --no-legend --no-pager | awk '{ print $1 }' | list)
        printf '{"vmctl":1,"state":"ready","addresses":%s,"ssh_host_keys":%s,"failed_units":%s}\n' \
          "$addresses" "$hostKeys" "$failed" >&3
        # Who reads hears it again; a write without a reader waits for the next one.
        sleep 5
      done
    '';
  };
}
