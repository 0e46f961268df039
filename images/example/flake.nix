{
  description = "A NixOS virtual machine";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  outputs = { nixpkgs, ... }: {
    # nix build .#nixosConfigurations.build-qcow2.config.system.build.qcow2
    nixosConfigurations.build-qcow2 = nixpkgs.lib.nixosSystem {
      system = "x86_64-linux";
      modules = [
        ./configuration.nix # what is in the machine
        ./qcow.nix # what makes a disk image of it
      ];
    };
  };
}
