# What a system needs to be a good guest. All of it is a default that the system's own
# configuration can change.
{ lib, modulesPath, pkgs, ... }:
let
  serial = if pkgs.stdenv.hostPlatform.isAarch then "ttyAMA0" else "ttyS0";
in
{
  imports = [ (modulesPath + "/profiles/qemu-guest.nix") ];

  # Tells the host addresses, and shuts down cleanly when asked.
  services.qemuGuest.enable = lib.mkDefault true;

  # The last console is the one that vmctl console shows.
  boot.kernelParams = lib.mkAfter [ "console=tty0" "console=${serial}" ];
  boot.loader.timeout = lib.mkDefault 0;

  # Where systemd finds the credentials that the host hands in.
  boot.initrd.availableKernelModules = [ "dmi_sysfs" "qemu_fw_cfg" ];
}
