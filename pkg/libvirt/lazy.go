//go:build libvirt_dlopen

package libvirt

// The binding opens libvirt.so.0 in its package's init, to set an error function, and with
// it come 56 more libraries: two thirds of what a command takes that asks no host. Neither
// dlopen nor the init can be told to wait, so the linker puts these two functions between the
// binding and the C library (ld's --wrap): they open the library at the first call that needs it.

/*
#cgo LDFLAGS: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

void *__real_dlopen(const char *file, int flags);
void *__real_dlsym(void *handle, const char *name);

typedef void (*error_func)(void *data, void *error);
typedef void (*set_error_func)(void *data, error_func handler);

static const char library[] = "libvirt.so.0";
static const char setter[] = "virSetErrorFunc";
static const char variable[] = "virConnectAuthPtrDefault";

// The address of promise is the handle of the library that is not open yet.
static char promise;

static pthread_once_t opening = PTHREAD_ONCE_INIT;
static void *opened;

// What the init set, for when the library is there.
static void *error_data;
static error_func error_handler;

// What the binding takes for the library's variable.
static void *auth_default;

// Its functions are bound as they are called (the binding asks for RTLD_NOW): that spares a
// sixth of the time, and what is called has been looked up by then.
static void open_library(void) {
	opened = __real_dlopen(library, RTLD_LAZY | RTLD_LOCAL);
	if (opened == NULL)
		return;
	set_error_func set = (set_error_func)__real_dlsym(opened, setter);
	if (set != NULL)
		set(error_data, error_handler);
	void **theirs = __real_dlsym(opened, variable);
	if (theirs != NULL)
		auth_default = *theirs;
}

static void set_error(void *data, error_func handler) {
	error_data = data;
	error_handler = handler;
}

void *__wrap_dlopen(const char *file, int flags) {
	if (file == NULL || strcmp(file, library) != 0)
		return __real_dlopen(file, flags);
	return &promise;
}

// When the library cannot be opened, dlerror says why, once for each thread: the next
// caller asks again.
void *__wrap_dlsym(void *handle, const char *name) {
	if (handle != &promise)
		return __real_dlsym(handle, name);
	if (strcmp(name, setter) == 0)
		return set_error;
	if (strcmp(name, variable) == 0)
		return &auth_default;
	pthread_once(&opening, open_library);
	if (opened == NULL)
		return __real_dlopen(library, RTLD_LAZY | RTLD_LOCAL);
	return __real_dlsym(opened, name);
}
*/
import "C"
