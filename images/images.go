// Package images carries the nix files that vmctl hands to nix: its NixOS module, and the
// wrapper that makes an image of a configuration which knows nothing of machines. It only
// holds them; what is done with them is pkg/builder's business.
package images

import "embed"

// Credentials is the script with which a guest takes its secrets.
//
//go:embed module/credentials.sh
var Credentials string

// Nix holds module/ and wrapper/.
//
//go:embed module wrapper
var Nix embed.FS
