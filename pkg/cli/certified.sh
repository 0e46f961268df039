# Where libvirt has QEMU look for them (qemu.conf: migrate_tls_x509_cert_dir).
conf=/etc/libvirt/qemu.conf
says() { sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*\"\([^\"]*\)\".*/\1/p" "$conf" 2>/dev/null | tail -n 1; }
dir=$(says migrate_tls_x509_cert_dir)
[ -n "$dir" ] || [ ! -d /etc/pki/libvirt-migrate ] || dir=/etc/pki/libvirt-migrate
[ -n "$dir" ] || dir=$(says default_tls_x509_cert_dir)
for file in ca-cert server-cert server-key client-cert client-key; do
	[ -s "${dir:-/etc/pki/qemu}/$file.pem" ] || exit 1
done
