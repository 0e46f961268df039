# The disk image: a root file system that grows with the disk, and a boot loader for the
# machine's firmware.
{ config, lib, modulesPath, pkgs, ... }:
let
  efi = config.vmctl.firmware == "efi";
  make = import (modulesPath + "/../lib/make-disk-image.nix");
  arguments = {
    inherit config lib pkgs;
    # As small as it can be: the machine's disk is as large as its definition says.
    diskSize = "auto";
    additionalSpace = "256M";
    format = "qcow2";
    partitionTableType = if efi then "efi" else "legacy";
    label = "nixos";
    # No copy of nixpkgs, with which the image would change each time that does.
    copyChannel = false;
  };
in
{
  # Releases differ in what make-disk-image takes.
  system.build.vmctlImage = make (builtins.intersectAttrs (builtins.functionArgs make) arguments);

  fileSystems = {
    "/" = {
      device = lib.mkDefault "/dev/disk/by-label/nixos";
      fsType = lib.mkDefault "ext4";
      autoResize = lib.mkDefault true;
    };
    "/boot" = lib.mkIf efi {
      device = lib.mkDefault "/dev/disk/by-label/ESP";
      fsType = lib.mkDefault "vfat";
    };
  };
  boot.growPartition = lib.mkDefault true;

  boot.loader.grub.device = lib.mkDefault (if efi then "nodev" else "/dev/vda");
  boot.loader.systemd-boot.enable = lib.mkIf (efi && !config.boot.loader.grub.efiSupport) (lib.mkDefault true);
}
