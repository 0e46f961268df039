# What vmctl asks of a flake: which of its configurations is meant, how an image is made
# of it, what machine it describes, and the image. The flake is used as it is, with its
# own lock; nothing is written into it.
{ user, want, module }:
let
  configurations = user.nixosConfigurations or { };
  names = builtins.attrNames configurations;

  candidates =
    if want.name != null then [ want.name ]
    else want.preferred ++ (if builtins.length names == 1 then names else [ ]);
  found = builtins.filter (name: configurations ? ${name}) candidates;
  name = if found == [ ] then null else builtins.head found;

  original = configurations.${name};
  extends = name != null && original ? extendModules;
  # A module with this key counts once, so that a configuration may import it itself.
  vmctl = { key = "vmctl"; _file = "vmctl's module"; imports = [ module ]; };
  # The configuration as it is but for the options with which it may describe its machine.
  plain = original.extendModules { modules = [ (vmctl // { imports = [ "${module}/options.nix" "${module}/spec.nix" ]; }) ]; };
  wrapped = { key = "vmctl wrapper"; _file = "vmctl's wrapper"; imports = [ (import ./wrapped.nix { inherit plain want; }) ]; };
  extended = original.extendModules { modules = [ vmctl wrapped ]; };

  kind =
    if name == null then "absent"
    else if extends then (if extended.config.system.build ? qcow2 then "qcow2" else "wrapped")
    else if original ? config.system.build.qcow2 then "qcow2"
    else "none";

  at = builtins.foldl' (set: name: set.${name}) user;
  image =
    if want.path != null then at want.path
    else if kind == "wrapped" then extended.config.system.build.vmctlImage
    else original.config.system.build.qcow2;

  # What the image has in it: what a machine made from it is brought up to date with.
  system =
    if kind == "wrapped" && want.path == null then extended.config.system.build.toplevel
    else if want.path == null then original.config.system.build.toplevel
    # An image variant of NixOS's own is of a configuration with more modules.
    else (at want.path).passthru.config.system.build.toplevel or original.config.system.build.toplevel;
  outcome = drv: { drv = drv.drvPath; out = drv.outPath; };

  # QEMU falls back to emulation where nix would not even try.
  withoutKVM = drv: derivation (drv.drvAttrs // {
    requiredSystemFeatures = builtins.filter (feature: feature != "kvm") (drv.drvAttrs.requiredSystemFeatures or [ ]);
  });
  built = if want.kvm then image else withoutKVM image;
in
{
  vmctl = {
    inherit names name kind;
    spec = if extends then extended.config.vmctl.spec else null;
    left = if kind == "wrapped" then extended.config.vmctl.left else [ ];
  };
  image = built;
  inherit system;
  updates = { system = outcome system; image = outcome built; };
}
