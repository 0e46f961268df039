# Stands in for nixpkgs' own: the arguments are those of a release, the image is text.
{ pkgs, lib, config, diskSize ? "auto", additionalSpace ? "512M", format ? "raw", partitionTableType ? "legacy"
, label ? "nixos", copyChannel ? true }:
derivation {
  name = "nixos-disk-image";
  inherit (pkgs.stdenv.hostPlatform) system;
  builder = "/bin/sh";
  PATH = "/usr/bin:/bin";
  requiredSystemFeatures = pkgs.needs or [ ];
  toplevel = config.system.build.toplevel;
  said = builtins.toJSON { inherit diskSize additionalSpace format partitionTableType label copyChannel; };
  args = [
    "-c"
    ''
      echo running nixos-install...
      mkdir -p $out/nix-support
      { printf 'QFI\373\0'; echo "$toplevel"; cat "$toplevel"; echo "$said"; } > $out/nixos.qcow2
      echo file qcow2-image $out/nixos.qcow2 > $out/nix-support/hydra-build-products
    ''
  ];
}
