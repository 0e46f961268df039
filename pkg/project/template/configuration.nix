{ ... }:
{
  networking.hostName = "@NAME@";

  # vmctl console @NAME@ is root's shell: who may see the console may do anything with the
  # machine anyway. Take it out once you log in another way.
  services.getty.autologinUser = "root";

  services.openssh.enable = true;
  # users.users.root.openssh.authorizedKeys.keys = [ "ssh-ed25519 AAAA… me@here" ];

  # The release that this machine was first installed with. It never changes.
  system.stateVersion = "25.11";
}
