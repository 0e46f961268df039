# As much of nixpkgs as images/example touches: nixosSystem calls the modules, merges what
# they set, and make-disk-image.nix gives back what it is called with.
{
  outputs = { self }:
    let
      lib.recursiveUpdate = a: b: a // builtins.mapAttrs
        (name: value: if builtins.isAttrs value && builtins.isAttrs (a.${name} or null) then lib.recursiveUpdate a.${name} value else value)
        b;
    in
    {
      lib.nixosSystem = { system, modules }:
        let
          args = {
            inherit config lib;
            modulesPath = "${self}/modules";
            pkgs = { linuxPackages_6_12 = "linux-6.12"; python3 = "python3"; };
          };
          call = path: let m = import path; in if builtins.isFunction m then m args else m;
          merged = builtins.foldl' (all: path: lib.recursiveUpdate all (call path)) { } modules;
          config = builtins.removeAttrs merged [ "imports" ];
        in
        {
          inherit config;
          imported = map (path: builtins.isAttrs (call path)) merged.imports;
        };
    };
}
