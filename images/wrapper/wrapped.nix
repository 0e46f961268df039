# What must hold in an image whatever the configuration says, since it was written for
# other disks, maybe for a real machine's.
{ plain, want }:
{ config, lib, options, ... }:
let
  force = lib.mkImageMediaOverride;
  efi = config.vmctl.firmware == "efi";

  # What the configuration says without this module, where that can be found out.
  known = value: otherwise:
    let tried = builtins.tryEval value; in if tried.success then tried.value else otherwise;
  loader = plain.config.boot.loader;
  # GRUB can be there for both; then BIOS starts it from the disk that is named.
  uefi = loader.systemd-boot.enable
    || loader.grub.efiSupport && (loader.grub.device == "nodev" || loader.grub.devices == [ "nodev" ]);
  fileSystems = known plain.config.fileSystems { };

  # File systems on the disks that a machine of its own had are not there in the guest,
  # which would wait for them and not boot.
  ours = [ "/" "/boot" "/boot/efi" "/efi" "/nix" "/nix/store" ];
  begins = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
  elsewhere = fs:
    let device = toString (fs.device or ""); in
    builtins.elem (fs.fsType or "auto") [ "zfs" "btrfs" "bcachefs" ]
    || builtins.any (prefix: begins prefix device) [
      "/dev/disk/by-uuid/" "/dev/disk/by-label/" "/dev/disk/by-part" "/dev/disk/by-path/"
      "/dev/sd" "/dev/nvme" "/dev/mmcblk" "/dev/mapper/" "/dev/md"
    ]
    || begins "/dev/disk/by-id/" device && !(begins "/dev/disk/by-id/virtio-" device)
    || device == "" && fs.label or null != null;
  volumes = map (volume: volume.mountPoint) (builtins.attrValues config.vmctl.volumes);
  mounts = builtins.filter (mount: !(builtins.elem mount (ours ++ volumes))) (builtins.attrNames fileSystems);
  left = builtins.filter (mount: elsewhere fileSystems.${mount}) mounts;

  # Not every release can leave a file system out.
  can = options.fileSystems.type.getSubOptions [ ];
  nothing =
    if can ? enable then { enable = false; }
    else { device = "tmpfs"; fsType = "tmpfs"; options = [ "noauto" "nofail" ]; };
in
{
  options.vmctl.left = lib.mkOption {
    type = lib.types.listOf lib.types.str;
    default = left;
    internal = true;
    description = "Mount points whose file systems are on disks that the machine does not have.";
  };

  config = {
    vmctl.firmware =
      if want.firmware != null then lib.mkForce want.firmware
      else lib.mkDefault (if known uefi false then "efi" else "bios");

    fileSystems = lib.mkMerge [
      {
        "/" = force { device = "/dev/disk/by-label/nixos"; fsType = "ext4"; autoResize = true; };
      }
      (lib.mkIf efi {
        "/boot" = force { device = "/dev/disk/by-label/ESP"; fsType = "vfat"; };
      })
      (lib.genAttrs left (_: force nothing))
    ];
    swapDevices = force [ ];
    boot.initrd.luks.devices = force { };
    boot.resumeDevice = force "";

    boot.loader.efi.canTouchEfiVariables = force false;
    boot.loader.efi.efiSysMountPoint = lib.mkIf efi (force "/boot");
    boot.loader.systemd-boot.enable = lib.mkIf (!efi) (force false);
    boot.loader.grub = lib.mkMerge [
      (lib.mkIf efi {
        device = force "nodev";
        devices = force [ "nodev" ];
        efiInstallAsRemovable = lib.mkIf config.boot.loader.grub.efiSupport (force true);
      })
      (lib.mkIf (!efi) {
        enable = force true;
        device = force "/dev/vda";
        devices = force [ "/dev/vda" ];
        efiSupport = force false;
        efiInstallAsRemovable = force false;
      })
    ];
  };
}
