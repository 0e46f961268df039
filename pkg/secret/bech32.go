package secret

import "strings"

// bech32 writes data as age writes its keys (BIP 173, without the limit of length): the
// age library reads that form of a key, and no other.
func bech32(prefix string, data []byte) string {
	const alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	var words []byte
	value, bits := 0, 0
	for _, b := range data {
		value, bits = value<<8|int(b), bits+8
		for ; bits >= 5; bits -= 5 {
			words = append(words, byte(value>>(bits-5)&31))
		}
		value &= 1<<bits - 1
	}
	if bits > 0 {
		words = append(words, byte(value<<(5-bits)&31))
	}
	expanded := make([]byte, 0, 2*len(prefix)+len(words)+7)
	for i := range len(prefix) {
		expanded = append(expanded, prefix[i]>>5)
	}
	expanded = append(expanded, 0)
	for i := range len(prefix) {
		expanded = append(expanded, prefix[i]&31)
	}
	expanded = append(append(expanded, words...), 0, 0, 0, 0, 0, 0)
	sum := polymod(expanded) ^ 1
	for i := range 6 {
		words = append(words, byte(sum>>(5*(5-i))&31))
	}
	var out strings.Builder
	out.WriteString(prefix + "1")
	for _, w := range words {
		out.WriteByte(alphabet[w])
	}
	Wipe(words)
	Wipe(expanded)
	return strings.ToUpper(out.String())
}

func polymod(values []byte) uint32 {
	sum := uint32(1)
	for _, v := range values {
		top := sum >> 25
		sum = sum&0x1ffffff<<5 ^ uint32(v)
		for i, g := range []uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	return sum
}
