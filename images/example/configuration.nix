{ pkgs, ... }:
{
  # A kernel series of your choice rather than the release's default.
  boot.kernelPackages = pkgs.linuxPackages_6_12;

  networking.hostName = "example";
  services.openssh.enable = true;
  # Lets the host ask for addresses and for a clean shutdown.
  services.qemuGuest.enable = true;

  # An empty password is fine on a console that only you can open; sshd refuses it.
  users.users.tarn = {
    isNormalUser = true;
    extraGroups = [ "wheel" ];
    password = "";
  };

  environment.systemPackages = [ pkgs.python3 ];

  system.stateVersion = "25.11";
}
