{
  description = "The machine @NAME@";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  # An ordinary configuration: vmctl adds what makes a disk image of it.
  outputs = { nixpkgs, ... }: {
    nixosConfigurations.@NAME@ = nixpkgs.lib.nixosSystem {
      system = "@SYSTEM@";
      modules = [ ./configuration.nix ];
    };
  };
}
