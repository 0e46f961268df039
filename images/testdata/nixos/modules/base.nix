# The options of NixOS that vmctl's module and the tests' configurations touch.
{ config, lib, options, pkgs, ... }:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  failed = map (a: a.message) (builtins.filter (a: !a.assertion) config.assertions);
in
{
  options = {
    assertions = option (types.listOf types.unspecified) [ ];
    boot.growPartition = option types.bool false;
    boot.kernelParams = option (types.listOf types.str) [ ];
    boot.resumeDevice = option types.str "";
    boot.initrd.availableKernelModules = option (types.listOf types.str) [ ];
    boot.initrd.luks.devices = option (types.attrsOf types.anything) { };
    boot.initrd.systemd = option (types.attrsOf types.anything) { };
    boot.loader.timeout = option (types.nullOr types.int) 5;
    boot.loader.efi.canTouchEfiVariables = option types.bool false;
    boot.loader.efi.efiSysMountPoint = option types.str "/boot";
    boot.loader.systemd-boot.enable = option types.bool false;
    boot.loader.grub.enable = option types.bool true;
    boot.loader.grub.device = option types.str "";
    boot.loader.grub.devices = option (types.listOf types.str) [ ];
    boot.loader.grub.efiSupport = option types.bool false;
    boot.loader.grub.efiInstallAsRemovable = option types.bool false;
    environment = option (types.attrsOf types.anything) { };
    networking.hostName = option types.str "nixos";
    services.getty.autologinUser = option (types.nullOr types.str) null;
    services.openssh.enable = option types.bool false;
    services.qemuGuest.enable = option types.bool false;
    services.fstrim.enable = option types.bool false;
    services.udev.extraRules = option types.lines "";
    swapDevices = option (types.listOf types.unspecified) [ ];
    system.fsPackages = option (types.listOf types.package) [ ];
    system.stateVersion = option types.str "25.11";
    system.nixos.release = option types.str "25.11";
    system.build = option (types.lazyAttrsOf types.unspecified) { };
    system.activationScripts = option (types.attrsOf types.anything) { };
    systemd.package = option types.unspecified "/systemd";
    systemd.services = option (types.attrsOf types.anything) { };
    users = option (types.attrsOf types.anything) { };
    virtualisation.vmVariant = mkOption { type = types.attrs; default = { }; apply = said: { virtualisation = { memorySize = 1024; cores = 1; diskSize = 1024; forwardPorts = [ ]; } // said.virtualisation or { }; }; };
    fileSystems = mkOption {
      default = { };
      type = types.attrsOf (types.submodule {
        options = {
          enable = option types.bool true;
          device = option (types.nullOr types.str) null;
          label = option (types.nullOr types.str) null;
          fsType = option types.str "auto";
          autoResize = option types.bool false;
          autoFormat = option types.bool false;
          neededForBoot = option types.bool false;
          options = option (types.listOf types.str) [ "defaults" ];
        };
      });
    };
  };

  config.boot.loader.grub.enable = lib.mkIf config.boot.loader.systemd-boot.enable (lib.mkDefault false);
  config.system.build.toplevel =
    if failed != [ ] then throw "\nFailed assertions:\n${builtins.concatStringsSep "\n" (map (m: "- ${m}") failed)}"
    else derivation {
      name = "nixos-system";
      inherit (pkgs) system;
      builder = "/bin/sh";
      text = builtins.toJSON {
        inherit (config) boot environment networking services swapDevices;
        fileSystems = lib.filterAttrs (_: fs: fs.enable) config.fileSystems;
        units = builtins.attrNames config.systemd.services;
        fsPackages = map (p: p.name) config.system.fsPackages;
        grow = builtins.mapAttrs (_: unit: unit.script or "") config.systemd.services;
      };
      args = [ "-c" "printf '%s\\n' \"$text\" > $out" ];
    };
}
