{
  description = "Take a NixOS flake to a running virtual machine on a libvirt host";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" ];
      each = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
    in
    {
      # nix run . -- up example
      packages = each (pkgs: {
        default = (pkgs.buildGo126Module or pkgs.buildGoModule) {
          pname = "vmctl";
          version = self.shortRev or "dirty";
          src = self;
          # go tool task vendor-hash writes it after go.sum has changed.
          vendorHash = "sha256-a622LOtqxFyiJvOHEBhiUE/0YcWJDpO6Frp2EFLjG9A=";
          subPackages = [ "cmd/vmctl" ];
          # libvirt is opened when it is needed rather than linked, so the build takes
          # no headers; the wrapper says where it is.
          tags = [ "libvirt_dlopen" "urfave_cli_no_docs" ];
          ldflags = [ "-X main.version=${self.shortRev or "dirty"}" ];
          nativeBuildInputs = [ pkgs.makeWrapper ];
          # The tests need a libvirt host of their own: go tool task test.
          doCheck = false;
          postInstall = ''
            wrapProgram $out/bin/vmctl \
              --prefix LD_LIBRARY_PATH : ${pkgs.lib.makeLibraryPath [ pkgs.libvirt ]} \
              --suffix PATH : ${pkgs.lib.makeBinPath [ pkgs.nix pkgs.qemu-utils pkgs.git pkgs.openssh ]}
          '';
          meta = {
            description = "Take a NixOS flake to a running virtual machine on a libvirt host";
            license = pkgs.lib.licenses.mit;
            mainProgram = "vmctl";
            platforms = systems;
          };
        };
      });

      # The options with which a NixOS configuration describes its machine, and what makes a
      # good guest of it. The key lets vmctl find out that it is there already.
      nixosModules = rec {
        vmctl = { key = "vmctl"; _file = "vmctl's module"; imports = [ ./images/module ]; };
        default = vmctl;
      };

      devShells = each (pkgs: {
        default = pkgs.mkShell {
          packages = with pkgs; [ go gcc go-task golangci-lint shellcheck libvirt qemu nix git ];
          LD_LIBRARY_PATH = pkgs.lib.makeLibraryPath [ pkgs.libvirt ];
        };
      });
    };
}
