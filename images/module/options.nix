# The machine, described in Nix. Numbers of memory and disk are MiB, as in nixpkgs'
# virtualisation.*, from whose vmVariant come the values that nobody sets here.
{ config, lib, options, ... }:
let
  inherit (lib) mkOption types;

  # What was said for build-vm. Where nothing was, it is not looked at: it would cost the
  # evaluation of a second system. A value that equals nixpkgs' default says nothing.
  said = (options.virtualisation.vmVariant or { }).highestPrio or 1500 < 1500;
  variant = name: unsaid: otherwise:
    let value = config.virtualisation.vmVariant.virtualisation.${name} or unsaid;
    in if said && value != unsaid then value else otherwise;

  optional = type: description: mkOption {
    type = types.nullOr type;
    default = null;
    inherit description;
  };
  text = description: optional types.str description;
  mib = types.ints.positive;
in
{
  options.vmctl = {
    memorySize = optional mib "RAM of the machine, in MiB." // {
      default = variant "memorySize" 1024 null;
      defaultText = lib.literalExpression "what virtualisation.vmVariant says";
    };
    cores = optional types.ints.positive "Virtual CPUs of the machine." // {
      default = variant "cores" 1 null;
      defaultText = lib.literalExpression "what virtualisation.vmVariant says";
    };
    diskSize = optional mib "Size of the root disk, in MiB. It is no part of the image: changing it needs no rebuild." // {
      default = variant "diskSize" 1024 null;
      defaultText = lib.literalExpression "what virtualisation.vmVariant says";
    };
    firmware = mkOption {
      type = types.enum [ "bios" "efi" ];
      default = "bios";
      description = "What boots the machine. The image gets the boot loader for it.";
    };
    secureBoot = mkOption {
      type = types.bool;
      default = false;
      description = "Boot only what is signed with enrolled keys; needs firmware efi.";
    };
    autostart = mkOption {
      type = types.bool;
      default = false;
      description = "Start the machine when its host boots.";
    };
    network = text "The libvirt network of the machine, or user, or none.";

    ports = mkOption {
      default = map (port: { proto = port.proto or "tcp"; inherit (port) host guest; })
        (builtins.filter (port: port.from or "host" == "host") (variant "forwardPorts" [ ] [ ]));
      defaultText = lib.literalExpression "what virtualisation.vmVariant forwards from the host";
      example = [{ host.port = 2222; guest.port = 22; }];
      description = "Ports of the host that lead to ports of the machine.";
      type = types.listOf (types.submodule {
        options = {
          proto = mkOption { type = types.enum [ "tcp" "udp" ]; default = "tcp"; description = "The protocol."; };
          host.address = mkOption { type = types.str; default = ""; description = "The host's address; empty is 127.0.0.1."; };
          host.port = mkOption { type = types.port; description = "The host's port."; };
          guest.address = mkOption { type = types.str; default = ""; description = "Not used: the machine has one address."; };
          guest.port = mkOption { type = types.port; description = "The machine's port."; };
        };
      });
    };

    volumes = mkOption {
      default = { };
      example = { data = { size = 51200; mountPoint = "/var/lib/data"; }; };
      description = "Disks beside the root disk, which stay when the machine is taken down. A volume's name is its serial in the guest.";
      type = types.attrsOf (types.submodule {
        options = {
          size = optional mib "Size in MiB; it grows, and never shrinks.";
          mountPoint = text "Where it is mounted.";
          fsType = mkOption {
            type = types.enum [ "ext4" "xfs" "btrfs" ];
            default = "ext4";
            description = "The file system that is made on it while it is empty.";
          };
          encrypt = mkOption { type = types.bool; default = false; description = "Keep it encrypted on the host."; };
          device = text "A block device of the host, instead of a volume that vmctl makes.";
        };
      });
    };

    shares = mkOption {
      default = { };
      example = { src = { source = "/srv/src"; target = "/src"; }; };
      description = "Directories of the host that the machine sees. The name is the share's tag.";
      type = types.attrsOf (types.submodule {
        options = {
          source = mkOption { type = types.str; description = "The directory, relative to the project. A string and no path: a path would be copied into the nix store."; };
          target = mkOption { type = types.str; description = "Where it is mounted in the machine."; };
          readOnly = mkOption { type = types.bool; default = false; description = "Keep the machine from writing to it."; };
        };
      });
    };

    credentials = mkOption {
      default = { };
      example = { token.source = "~/.secrets/token"; };
      description = "Secrets that are handed to the machine when it starts: units get them with LoadCredential. Each has one of source, env, command, sops and age. Only where they come from is said here; nix never reads them.";
      type = types.attrsOf (types.submodule {
        options = {
          source = text "A file on the machine that runs vmctl, relative to the project. A string and no path: a path would be copied into the nix store.";
          env = text "An environment variable of vmctl.";
          command = optional (types.listOf types.str) "A program with its arguments; what it prints is the secret.";
          sops = text "A file that sops decrypts, or FILE#key.";
          age = text "A file encrypted with age.";
          persist = mkOption {
            type = types.bool;
            default = false;
            description = "Keep the secret on the root disk, encrypted with systemd-creds, for boots that vmctl does not begin.";
          };
        };
      });
    };
    identity = mkOption {
      type = types.bool;
      default = false;
      description = "Take the ssh host key that vmctl makes and keeps, so that sops-nix and agenix work from the first boot.";
    };

    interfaces = mkOption {
      default = [ ];
      example = [{ network = "lan"; mac = "52:54:00:12:34:56"; }];
      description = "Network cards, in the machine's order, instead of the one that vmctl.network gives.";
      type = types.listOf (types.submodule {
        options = {
          network = text "A libvirt network.";
          bridge = text "A bridge of the host.";
          macvtap = text "A network card of the host.";
          user = mkOption { type = types.bool; default = false; description = "A private network behind the host."; };
          mac = text "The card's address.";
          address = text "The address that the network gives the card.";
          model = text "The card's model.";
        };
      });
    };
  };
}
