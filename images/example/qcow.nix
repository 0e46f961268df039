{ config, lib, pkgs, modulesPath, ... }:
{
  imports = [ "${modulesPath}/profiles/qemu-guest.nix" ];

  # The root file system grows with its partition, and the partition with the disk: a
  # larger disk needs no new image.
  fileSystems."/" = {
    device = "/dev/disk/by-label/nixos";
    fsType = "ext4";
    autoResize = true;
  };
  boot.growPartition = true;

  # The serial console: vmctl console shows it.
  boot.kernelParams = [ "console=ttyS0" ];
  boot.loader.grub.device = "/dev/vda";
  boot.loader.timeout = 0;

  system.build.qcow2 = import "${modulesPath}/../lib/make-disk-image.nix" {
    inherit config lib pkgs;
    diskSize = 8192; # MiB
    format = "qcow2";
    partitionTableType = "hybrid";
    copyChannel = false; # no copy of nixpkgs in the image
  };
}
