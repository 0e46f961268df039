package image

import (
	"slices"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// Known is a publisher's cloud image that has a short name.
type Known struct {
	// Name is what a definition says: "debian:12".
	Name string
	// Title is what it is, for people.
	Title string
	// Builds are the same for each architecture that there is an image for.
	Builds []KnownBuild
}

// KnownBuild is a known image for one architecture.
type KnownBuild struct {
	// Arch is the architecture in libvirt's words, such as x86_64.
	Arch string
	// URL is where the image is, Checksums the publisher's file that says what it must be.
	URL, Checksums string
}

// The architectures that known images are for, in libvirt's words.
const (
	archX86 = "x86_64"
	archARM = "aarch64"
)

// goArch is how Debian, Ubuntu and FreeBSD call an architecture.
const goArch = "{deb}"

// KnownImages are the images with short names, sorted as they are to be shown.
//
// The table holds where publishers keep images and checksums, never digests: those age.
// A URL that follows the newest build (latest, current, release) is preferred to one
// with a build's number, and checksums come over https from the publisher's own server,
// never from a mirror. Where each comes from is said beside it. NixOS publishes no disk
// image with checksums that could stand here: a flake is the way to it.
func KnownImages() []Known {
	var all []Known
	for _, t := range knownTable() {
		k := Known{Name: t.name, Title: t.title}
		for _, arch := range t.arches {
			deb := map[string]string{archX86: "amd64", archARM: "arm64"}[arch]
			fill := strings.NewReplacer("{arch}", arch, goArch, deb, "{url}", t.url)
			url := fill.Replace(t.url)
			sums := strings.NewReplacer("{dir}", url[:strings.LastIndex(url, "/")], "{url}", url, "{arch}", arch).Replace(t.sums)
			k.Builds = append(k.Builds, KnownBuild{Arch: arch, URL: url, Checksums: sums})
		}
		all = append(all, k)
	}
	return all
}

// published is a row of the table: {arch} and {deb} stand for the architecture, {url} for
// the image's URL and {dir} for that without the file's name.
type published struct {
	name, title, url, sums string
	arches                 []string
}

func knownTable() []published {
	both, x86 := []string{archX86, archARM}, []string{archX86}
	var all []published
	// https://cloud.debian.org/images/cloud/: generic has the drivers that the smaller
	// genericcloud leaves out.
	for _, v := range [][2]string{{"12", "bookworm"}, {"13", "trixie"}} {
		all = append(all, published{
			"debian:" + v[0], "Debian " + v[0] + " (" + v[1] + ")",
			"https://cloud.debian.org/images/cloud/" + v[1] + "/latest/debian-" + v[0] + "-generic-{deb}.qcow2", "{dir}/SHA512SUMS", both,
		})
	}
	// https://cloud-images.ubuntu.com/releases/: release/ always holds the newest build.
	for _, v := range []string{"22.04", "24.04", "26.04"} {
		all = append(all, published{
			"ubuntu:" + v, "Ubuntu " + v + " LTS",
			"https://cloud-images.ubuntu.com/releases/" + v + "/release/ubuntu-" + v + "-server-cloudimg-{deb}.img", "{dir}/SHA256SUMS", both,
		})
	}
	// https://fedoraproject.org/cloud/download. The name has the compose's number and does
	// not change; dl.fedoraproject.org is the master that does not redirect to mirrors.
	for _, v := range [][2]string{{"43", "1.6"}, {"44", "1.7"}} {
		all = append(all, published{
			"fedora:" + v[0], "Fedora Cloud " + v[0],
			"https://dl.fedoraproject.org/pub/fedora/linux/releases/" + v[0] + "/Cloud/{arch}/images/Fedora-Cloud-Base-Generic-" + v[0] + "-" + v[1] + ".{arch}.qcow2",
			"{dir}/Fedora-Cloud-" + v[0] + "-" + v[1] + "-{arch}-CHECKSUM", both,
		})
	}
	// https://alpinelinux.org/cloud/, the NoCloud images with cloud-init. Names have the
	// patch release in them, and old ones stay.
	for _, v := range []string{"3.22.4", "3.23.4"} {
		minor := v[:strings.LastIndex(v, ".")]
		all = append(all, published{
			"alpine:" + minor, "Alpine " + v,
			"https://dl-cdn.alpinelinux.org/alpine/v" + minor + "/releases/cloud/nocloud_alpine-" + v + "-x86_64-bios-cloudinit-r0.qcow2", "{url}.sha512", x86,
		})
	}
	all = append(all,
		// https://gitlab.archlinux.org/archlinux/arch-boxes
		published{
			"arch:latest", "Arch Linux",
			"https://geo.mirror.pkgbuild.com/images/latest/Arch-Linux-x86_64-cloudimg.qcow2", "{url}.SHA256", x86,
		})
	for _, v := range []string{"9", "10"} {
		all = append(all,
			// https://rockylinux.org/download
			published{
				"rocky:" + v, "Rocky Linux " + v,
				"https://dl.rockylinux.org/pub/rocky/" + v + "/images/{arch}/Rocky-" + v + "-GenericCloud-Base.latest.{arch}.qcow2", "{url}.CHECKSUM", both,
			},
			// https://wiki.almalinux.org/cloud/Generic-cloud.html
			published{
				"almalinux:" + v, "AlmaLinux " + v,
				"https://repo.almalinux.org/almalinux/" + v + "/cloud/{arch}/images/AlmaLinux-" + v + "-GenericCloud-latest.{arch}.qcow2", "{dir}/CHECKSUM", both,
			},
			// https://cloud.centos.org/centos/
			published{
				"centos:stream" + v, "CentOS Stream " + v,
				"https://cloud.centos.org/centos/" + v + "-stream/{arch}/images/CentOS-Stream-GenericCloud-" + v + "-latest.{arch}.qcow2", "{url}.SHA256SUM", both,
			})
	}
	all = append(all,
		// https://get.opensuse.org/leap/
		published{
			"opensuse:leap-15.6", "openSUSE Leap 15.6",
			"https://download.opensuse.org/distribution/leap/15.6/appliances/openSUSE-Leap-15.6-Minimal-VM.x86_64-Cloud.qcow2", "{url}.sha256", x86,
		},
		published{
			"opensuse:leap-16.0", "openSUSE Leap 16.0",
			"https://download.opensuse.org/distribution/leap/16.0/appliances/Leap-16.0-Minimal-VM.x86_64-Cloud.qcow2", "{url}.sha256", x86,
		},
		// https://download.freebsd.org/releases/VM-IMAGES/
		published{
			"freebsd:15.1", "FreeBSD 15.1",
			"https://download.freebsd.org/releases/VM-IMAGES/15.1-RELEASE/amd64/Latest/FreeBSD-15.1-RELEASE-amd64-BASIC-CLOUDINIT-ufs.qcow2.xz", "{dir}/CHECKSUM.SHA512", x86,
		})
	slices.SortStableFunc(all, func(a, b published) int {
		return slices.Index(spec.Publishers(), publisher(a.name)) - slices.Index(spec.Publishers(), publisher(b.name))
	})
	return all
}

func publisher(name string) string {
	word, _, _ := strings.Cut(name, ":")
	return word
}

// known finds a known image for an architecture in libvirt's words.
func known(name, arch string) (KnownBuild, error) {
	for _, k := range KnownImages() {
		if k.Name == name {
			for _, b := range k.Builds {
				if b.Arch == arch {
					return b, nil
				}
			}
			return KnownBuild{}, fault.New(fault.NotFound, "%s has no image for %s", name, arch).
				WithHint("vmctl image list --known shows what there is")
		}
	}
	return KnownBuild{}, CheckKnown(name)
}

// CheckKnown refuses a name that no known image has, with those that are near it.
func CheckKnown(name string) error {
	var names, same []string
	for _, k := range KnownImages() {
		if k.Name == name {
			return nil
		}
		names = append(names, k.Name)
		if publisher(k.Name) == publisher(name) {
			same = append(same, k.Name)
		}
	}
	err := fault.New(fault.NotFound, "there is no known image %s", name)
	if near := spec.Nearest(name, names); near != "" && publisher(near) == publisher(name) {
		return err.WithHint("did you mean %s?", near)
	}
	if len(same) > 0 {
		return err.WithHint("there are %s; others can be named by URL, with checksums:", strings.Join(same, ", "))
	}
	return err.WithHint("vmctl image list --known shows what there is")
}
