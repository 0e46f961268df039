# tiny: a small real Linux that boots in seconds, built offline from the kernel and the
# programs of the Debian or Ubuntu machine that builds it. It has no inputs, so nothing
# is downloaded; in return the result depends on that machine, and nix does not notice
# when its packages change.
{
  description = "A small Linux for trying vmctl out and for testing it";

  outputs = { self }:
    let
      image = derivation {
        name = "tiny-disk-image";
        system = "x86_64-linux";
        builder = "/bin/bash";
        args = [ ./build.sh ];
        PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        boot = ./boot; # what the two boot loaders and the initramfs read
        root = ./root; # the files of the root file system
      };
    in
    {
      nixosConfigurations.tiny.config.system.build.qcow2 = image;
    };
}
