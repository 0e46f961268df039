package libvirt

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

// What is needed of libvirt's ABI: libvirt-host.h, libvirt-domain.h, libvirt-common.h and virterror.h.
struct parameter { char field[80]; int type; union { int i; long long l; double d; char *s; } value; };
struct stats { void *domain; struct parameter *params; int n; };
struct library {
	int (*all)(void *, unsigned int, struct stats ***, unsigned int);
	void (*release)(struct stats **);
	const char *(*name)(void *);
	int (*uuid)(void *, char *);
	int (*code)(void);
	const char *(*message)(void);
};

static int load(struct library *l) {
	void *h = dlopen("libvirt.so.0", RTLD_NOW | RTLD_LOCAL);
	if (h == NULL) return -1;
	l->all = dlsym(h, "virConnectGetAllDomainStats");
	l->release = dlsym(h, "virDomainStatsRecordListFree");
	l->name = dlsym(h, "virDomainGetName");
	l->uuid = dlsym(h, "virDomainGetUUIDString");
	l->code = dlsym(h, "virGetLastErrorCode");
	l->message = dlsym(h, "virGetLastErrorMessage");
	return l->all && l->release && l->name && l->uuid && l->code && l->message ? 0 : -1;
}

static int all(struct library *l, void *connection, struct stats ***found, int *code, char **message) {
	int n = l->all(connection, 1, found, 1); // VIR_DOMAIN_STATS_STATE, for which QEMU is not asked, of VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
	if (n < 0) {
		*code = l->code();
		*message = strdup(l->message());
	}
	return n;
}

static const char *name(struct library *l, struct stats *s) { return l->name(s->domain); }
static int uuid(struct library *l, struct stats *s, char *text) { return l->uuid(s->domain, text); }
static void release(struct library *l, struct stats **all) { l->release(all); }

// state is -1 where the host does not say it.
static int state(struct stats *s) {
	for (int i = 0; i < s->n; i++)
		if (strcmp(s->params[i].field, "state.state") == 0) return s->params[i].value.i;
	return -1;
}
*/
import "C"

import (
	"sync"
	"unsafe"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
)

// library is loaded by the binding already; only calls that it does not give as they are
// are looked up once more.
var library = sync.OnceValues(func() (*C.struct_library, error) {
	l := new(C.struct_library)
	if C.load(l) != 0 {
		return nil, golibvirt.Error{Code: golibvirt.ERR_NO_SUPPORT, Message: "libvirt.so.0 lacks virConnectGetAllDomainStats"}
	}
	return l, nil
})

// activeStats gives name, UUID and state of all active domains: one call, and so one moment. The
// binding's own GetAllDomainStats makes another call for each domain, to its vcpus.
func activeStats(l *golibvirt.Connect) ([]engine.DomainSummary, error) {
	lib, err := library()
	if err != nil {
		return nil, err
	}
	connection, err := l.RawPtr()
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = golibvirt.CloseRawPtr(connection) }()
	var found **C.struct_stats
	var code C.int
	var message *C.char
	n := C.all(lib, unsafe.Pointer(connection), &found, &code, &message)
	if n < 0 {
		defer C.free(unsafe.Pointer(message))
		return nil, golibvirt.Error{Code: golibvirt.ErrorNumber(code), Message: C.GoString(message)}
	}
	defer C.release(lib, found)
	rows := make([]engine.DomainSummary, 0, n)
	for _, s := range unsafe.Slice(found, n) {
		var uuid [37]C.char // VIR_UUID_STRING_BUFLEN
		if C.uuid(lib, s, &uuid[0]) != 0 {
			continue // cannot be: it copies what the record holds
		}
		rows = append(rows, engine.DomainSummary{
			Name: C.GoString(C.name(lib, s)), UUID: C.GoString(&uuid[0]), State: stateOf(golibvirt.DomainState(C.state(s))),
		})
	}
	return rows, nil
}
