package engine_test

const livePlan = `
b: define pool vmctl (not there)
b: build pool vmctl (directory /var/lib/libvirt/images/vmctl)
b: autostart pool vmctl
b: start pool vmctl
b: create volume base-sha256-0123456789ab.me-1.qcow2 (not on the host)
b: upload volume base-sha256-0123456789ab.me-1.qcow2 (./disk.qcow2)
b: create volume base-sha256-0123456789ab.me-1.qcow2.ok (marks the upload as whole)
b: create volume example.a6ddb00b.arriving (until the machine is there)
b: upload volume example.a6ddb00b.arriving (where it comes from)
b: create volume example.a6ddb00b.root.qcow2 (10GiB on sha256-0123456789ab)
a: note move example (it goes to b)
a: autostart domain example (nobody may start it here when the host boots)
b: define secret e5b6a61d-a799-53e7-9198-bd659ad14dad (key of volume vault)
b: copy secret e5b6a61d-a799-53e7-9198-bd659ad14dad (from a)
b: create volume example.a6ddb00b.console.log (0B)
b: copy volume example.a6ddb00b.console.log
b: create volume example.a6ddb00b.data-data.qcow2 (1GiB)
b: create volume example.a6ddb00b.data-vault.qcow2 (1GiB encrypted)
a: note move example (from here on b says where it is)
a: move running guest example (to b)
b: autostart domain example (as before)
b: delete volume example.a6ddb00b.arriving (it is there)
a: delete secret e5b6a61d-a799-53e7-9198-bd659ad14dad (it was moved)
a: delete volume example.a6ddb00b.console.log (it was moved)
a: delete volume example.a6ddb00b.data-data.qcow2 (it was moved)
a: delete volume example.a6ddb00b.data-vault.qcow2 (it was moved)
a: delete volume example.a6ddb00b.root.qcow2 (it was moved)
a: undefine domain example (it is on b)
`

const coldPlan = `
b: define pool vmctl (not there)
b: build pool vmctl (directory /var/lib/libvirt/images/vmctl)
b: autostart pool vmctl
b: start pool vmctl
b: create volume base-sha256-0123456789ab.me-1.qcow2 (not on the host)
b: upload volume base-sha256-0123456789ab.me-1.qcow2 (./disk.qcow2)
b: create volume base-sha256-0123456789ab.me-1.qcow2.ok (marks the upload as whole)
b: create volume example.a6ddb00b.arriving (until the machine is there)
b: upload volume example.a6ddb00b.arriving (where it comes from)
b: create volume example.a6ddb00b.root.qcow2 (10GiB on sha256-0123456789ab)
a: note move example (it goes to b)
a: autostart domain example (nobody may start it here when the host boots)
a: stop domain example (to copy its disks)
b: define secret e5b6a61d-a799-53e7-9198-bd659ad14dad (key of volume vault)
b: copy secret e5b6a61d-a799-53e7-9198-bd659ad14dad (from a)
b: create volume example.a6ddb00b.console.log (0B)
b: copy volume example.a6ddb00b.console.log
b: create volume example.a6ddb00b.data-data.qcow2 (1GiB)
b: copy volume example.a6ddb00b.data-data.qcow2 (0B)
b: create volume example.a6ddb00b.data-vault.qcow2 (1GiB encrypted)
b: copy volume example.a6ddb00b.data-vault.qcow2 (0B)
b: copy volume example.a6ddb00b.root.qcow2 (0B)
a: note move example (from here on b says where it is)
b: define domain example (its disks are whole)
b: autostart domain example (as before)
b: start domain example (it ran before)
b: delete volume example.a6ddb00b.arriving (it is there)
a: delete secret e5b6a61d-a799-53e7-9198-bd659ad14dad (it was moved)
a: delete volume example.a6ddb00b.console.log (it was moved)
a: delete volume example.a6ddb00b.data-data.qcow2 (it was moved)
a: delete volume example.a6ddb00b.data-vault.qcow2 (it was moved)
a: delete volume example.a6ddb00b.root.qcow2 (it was moved)
a: undefine domain example (it is on b)
`
