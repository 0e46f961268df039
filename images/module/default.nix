# vmctl's NixOS module: what a system needs to be a guest, the image that is made of it,
# and the options with which it describes its machine. One file for each concern.
{
  imports = [
    ./options.nix
    ./spec.nix
    ./guest.nix
    ./image.nix
    ./volumes.nix
    ./shares.nix
    ./credentials.nix
    ./ready.nix
  ];
}
