# A nixpkgs for tests: a module system with nixpkgs' manners, the options that are needed,
# and a make-disk-image that only notes what it was called with.
{
  outputs = { self }: {
    lib = import ./lib // {
      nixosSystem = { modules, system ? "x86_64-linux", specialArgs ? { } }: (import ./lib).evalModules {
        modules = [ ./modules/base.nix ] ++ modules;
        specialArgs = {
          modulesPath = toString ./modules;
          pkgs = {
            inherit system;
            lib = import ./lib;
            e2fsprogs.name = "e2fsprogs";
            xfsprogs.name = "xfsprogs";
            btrfs-progs.name = "btrfs-progs";
            util-linux.name = "util-linux";
            stdenv.hostPlatform = { inherit system; isAarch = false; isx86 = true; };
          };
        } // specialArgs;
      };
    };
  };
}
