// Package secret reads secrets from where a definition says they are, packs them for
// their way into a guest, and keeps the machines' own keys.
//
// A secret is in memory only, for as short as can be, and never in an error, a log, an
// argument or an environment. The package knows no host: who carries what it packs is
// pkg/engine's business.
package secret
