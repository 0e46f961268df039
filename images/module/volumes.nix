# Data volumes. Those that are described here are mounted by the system's own fstab; those
# that a definition alone names are told by the host when the machine boots (fstab.extra),
# so that a new one needs no new image.
{ config, lib, pkgs, ... }:
let
  mounted = lib.filterAttrs (_: volume: volume.mountPoint != null) config.vmctl.volumes;
in
{
  fileSystems = lib.mapAttrs'
    (name: volume: lib.nameValuePair volume.mountPoint {
      device = "/dev/disk/by-id/virtio-${name}";
      inherit (volume) fsType;
      # systemd makes the file system only on a disk that is empty.
      autoFormat = true;
      autoResize = true;
      options = [ "nofail" ];
    })
    mounted;

  assertions = lib.mapAttrsToList
    (name: _: {
      assertion = builtins.match "[a-z0-9][a-z0-9-]*" name != null && builtins.stringLength name <= 20
        && builtins.match "vmctl-.*" name == null;
      message = "vmctl.volumes.${name}: the name of a volume is its serial in the guest: at most 20 small letters, digits and -, and not vmctl-…";
    })
    config.vmctl.volumes;

  # What makes and grows the file systems that a definition can name.
  system.fsPackages = [ pkgs.e2fsprogs pkgs.xfsprogs pkgs.btrfs-progs ];

  # What is deleted in the machine becomes free on the host.
  services.fstrim.enable = lib.mkDefault true;

  # A volume that grows while the machine runs: its file system follows.
  services.udev.extraRules = ''
    ACTION=="change", SUBSYSTEM=="block", KERNEL=="vd*", ENV{RESIZE}=="1", RUN+="${config.systemd.package}/bin/systemctl --no-block start vmctl-grow@%k.service"
  '';
  systemd.services."vmctl-grow@" = {
    description = "Grow the file system on %I";
    path = [ pkgs.util-linux pkgs.e2fsprogs pkgs.xfsprogs pkgs.btrfs-progs ];
    scriptArgs = "%I";
    script = ''
      target=$(findmnt --first-only --noheadings --output TARGET --source "/dev/$1") || exit 0
      exec ${config.systemd.package}/lib/systemd/systemd-growfs "$target"
    '';
    serviceConfig.Type = "oneshot";
  };
}
