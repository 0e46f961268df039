# Takes the machine's secrets, and its ssh host key, which vmctl hands over on a small
# disk, before services start, and whenever such a disk appears.
{ config, lib, options, pkgs, ... }:
let
  take = pkgs.writeShellScript "vmctl-credentials" ''
    PATH=${lib.makeBinPath [ pkgs.coreutils pkgs.gnutar pkgs.diffutils pkgs.systemd pkgs.util-linux ]}
    . ${./credentials.sh}
  '';
in
{
  # Activation runs before systemd does: sops-nix and agenix decrypt there, and need the key.
  system.activationScripts = {
    vmctlCredentials = { text = "${take} || true"; deps = [ "specialfs" ]; };
  }
  // lib.optionalAttrs (options ? sops) {
    # Where sops-nix has this script: else only systemd's order below counts.
    setupSecrets = lib.mkIf
      (!(config.sops.useSystemdActivation or false)
        && lib.any (secret: !(secret.neededForUsers or false)) (lib.attrValues config.sops.secrets))
      { deps = [ "vmctlCredentials" ]; };
  }
  // lib.optionalAttrs (options ? age) {
    agenixNewGeneration = lib.mkIf (config.age.secrets != { }) { deps = [ "vmctlCredentials" ]; };
  };

  systemd.services.vmctl-credentials = {
    description = "Take the secrets that vmctl hands over";
    wantedBy = [ "sysinit.target" ];
    before = [ "sysinit.target" "sops-install-secrets.service" "agenix-install-secrets.service" ];
    after = [ "local-fs.target" ];
    unitConfig.DefaultDependencies = false;
    serviceConfig = { Type = "oneshot"; ExecStart = take; };
  };
  services.udev.extraRules = ''
    ACTION=="add", SUBSYSTEM=="block", ATTR{serial}=="vmctl-creds", TAG+="systemd", ENV{SYSTEMD_WANTS}+="vmctl-credentials.service"
  '';
}
