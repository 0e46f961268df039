# vmctl.spec is what vmctl reads: plain data, no paths into the store, no secrets. Its
# version changes when a key changes its meaning.
{ config, lib, pkgs, ... }:
let
  cfg = config.vmctl;
in
{
  options.vmctl.spec = lib.mkOption {
    type = lib.types.attrs;
    readOnly = true;
    internal = true;
    description = "The machine as vmctl reads it.";
  };

  config.vmctl.spec = {
    version = 1;
    system = pkgs.stdenv.hostPlatform.system;
    nixos = { inherit (config.system) stateVersion; release = config.system.nixos.release or null; };
    inherit (cfg)
      memorySize cores diskSize firmware secureBoot autostart network
      ports volumes shares credentials identity interfaces;
  };
}
