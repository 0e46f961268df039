package libvirt

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// withPrefix puts every element of a document under a namespace prefix, declared on
// the outermost one.
func withPrefix(doc, prefix, uri string) (string, error) {
	var out strings.Builder
	in, enc := xml.NewDecoder(strings.NewReader(doc)), xml.NewEncoder(&out)
	for first := true; ; {
		token, err := in.Token()
		if errors.Is(err, io.EOF) {
			return out.String(), enc.Flush()
		}
		if err != nil {
			return "", err
		}
		switch t := token.(type) {
		case xml.StartElement:
			t.Name.Local = prefix + ":" + t.Name.Local
			if first {
				first = false
				t.Attr = append([]xml.Attr{{Name: xml.Name{Local: "xmlns:" + prefix}, Value: uri}}, t.Attr...)
			}
			token = t
		case xml.EndElement:
			t.Name.Local = prefix + ":" + t.Name.Local
			token = t
		}
		if err := enc.EncodeToken(token); err != nil {
			return "", err
		}
		if err := enc.Flush(); err != nil {
			return "", err
		}
	}
}
