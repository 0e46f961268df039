package domainxml

import (
	"encoding/xml"
	"strings"

	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/fault"
)

// FirmwareFile is a file of the host that the guest finds in QEMU's fw_cfg.
type FirmwareFile struct{ Name, Path string }

// WithFirmwareFiles adds files to a domain's XML, which stays what it is otherwise. What
// is in them stays out of the XML: libvirt would take it there as well (value), and show
// it to everybody.
func WithFirmwareFiles(domain string, files []FirmwareFile) (string, error) {
	info := libvirtxml.DomainSysInfo{FWCfg: &libvirtxml.DomainSysInfoFWCfg{}}
	for _, f := range files {
		info.FWCfg.Entry = append(info.FWCfg.Entry, libvirtxml.DomainSysInfoEntry{Name: f.Name, File: f.Path})
	}
	element, err := xml.MarshalIndent(&info, "  ", "  ")
	if err != nil {
		return "", err
	}
	end := strings.LastIndex(domain, "</domain>")
	if end < 0 {
		return "", fault.New(fault.Other, "the domain's XML has no end")
	}
	return domain[:end] + string(element) + "\n" + domain[end:], nil
}
