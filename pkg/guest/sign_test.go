package guest_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

const (
	booting = `{"vmctl":1,"state":"booting"}` + "\n"
	ready   = `{"vmctl":1,"state":"ready","addresses":["192.0.2.7"],"ssh_host_keys":["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA root@x"]}` + "\n"
	failed  = `{"vmctl":1,"state":"ready","failed_units":["nginx.service"]}` + "\n"
)

func until(t *testing.T, h *enginetest.Host, o guest.Options, text string) (guest.Outcome, error) {
	t.Helper()
	sign, err := spec.ParseReady(text)
	require.NoError(t, err)
	o.Ready, o.Sink = sign, progress.Discard
	return guest.Wait(t.Context(), h.Connect(), "example", o)
}

func TestSigns(t *testing.T) {
	for name, tc := range map[string]struct {
		ready string
		guest enginetest.Guest
		later func(h *enginetest.Host)
		want  string
		after time.Duration
	}{
		"report": {"report", enginetest.Guest{Agent: true, Reports: []string{booting, ready}}, nil, guest.ByReport, 0},
		"report comes later": {
			"report", enginetest.Guest{Agent: true, Prints: "x login: "},
			func(h *enginetest.Host) { h.Report("example", ready) }, guest.ByReport, 3 * time.Second,
		},
		"a promise is waited for": {
			"auto", enginetest.Guest{Agent: true, Prints: "x login: ", Reports: []string{booting}},
			func(h *enginetest.Host) { h.Report("example", ready) }, guest.ByReport, 3 * time.Second,
		},
		"noise on the port": {
			"auto", enginetest.Guest{Reports: []string{"\x1b[2J{\n", strings.Repeat("x", 1<<20), "\n[1,2]\nnull\n", ready}}, nil, guest.ByReport, 0,
		},
		"agent":             {"agent", enginetest.Guest{Agent: true, Reports: []string{booting}}, nil, guest.ByAgent, 0},
		"agent, no login":   {"agent", enginetest.Guest{Prints: "x login: "}, func(h *enginetest.Host) { h.ConnectAgent("example") }, guest.ByAgent, 3 * time.Second},
		"console":           {`console /^Started .*nginx/`, enginetest.Guest{Agent: true, Prints: "\x1b[32mStarted\x1b[0m the nginx server\r\nmore\r\n"}, nil, guest.ByConsole, 0},
		"console, long ago": {`console /^one$/`, enginetest.Guest{Prints: "one\r\n" + strings.Repeat("noise\r\n", 20000)}, nil, guest.ByConsole, 0},
		"a time":            {"30s", enginetest.Guest{Agent: true, Reports: []string{ready}}, nil, guest.ByTime, 30 * time.Second},
		"start":             {"start", enginetest.Guest{}, nil, guest.ByStart, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := boot(t, tc.guest)
				if tc.later != nil {
					time.AfterFunc(3*time.Second, func() { tc.later(h) })
				}
				began := time.Now()
				outcome, err := until(t, h, guest.Options{Timeout: time.Minute}, tc.ready)
				require.NoError(t, err)
				assert.Equal(t, tc.want, outcome.How)
				assert.GreaterOrEqual(t, time.Since(began), tc.after)
				if tc.want == guest.ByReport {
					assert.Equal(t, []string{"192.0.2.7"}, outcome.Report.Addresses)
					assert.Equal(t, []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"}, outcome.Report.HostKeys)
				}
			})
		})
	}
}

func TestALoginOfLongAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := boot(t, enginetest.Guest{Prints: "x login: me\r\nPassword: \r\nLast login: today\r\n$ "})
		outcome, err := until(t, h, guest.Options{Running: true, Timeout: time.Minute}, "auto")
		require.NoError(t, err)
		assert.Equal(t, guest.ByLogin, outcome.How)
	})
}

func TestWhyNotReady(t *testing.T) {
	const kernel = "[    0.000000] Linux version 6.1.0\r\n"
	for name, tc := range map[string]struct {
		ready string
		guest enginetest.Guest
		kind  fault.Kind
		want  string
	}{
		"nothing":     {"auto", enginetest.Guest{}, fault.Timeout, "its console printed nothing: the firmware found nothing to boot"},
		"no disk":     {"auto", enginetest.Guest{Prints: "SeaBIOS (version 1.16)\r\nBooting from Hard Disk...\r\nNo bootable device.\r\n"}, fault.Timeout, "the firmware found nothing to boot on its disk"},
		"boot loader": {"auto", enginetest.Guest{Prints: "SYSLINUX 6.04\r\n"}, fault.Timeout, "the boot loader has not started a kernel"},
		"kernel":      {"auto", enginetest.Guest{Prints: kernel}, fault.Timeout, "its kernel runs, and the system in it is not up"},
		"panic":       {"auto", enginetest.Guest{Prints: kernel + "[    1.2] Kernel panic - not syncing: VFS: no root\r\n"}, fault.Other, "example does not boot: its kernel stopped: Kernel panic - not syncing: VFS: no root"},
		"emergency":   {"auto", enginetest.Guest{Prints: kernel + "You are in emergency mode. After logging in, type\r\n"}, fault.Timeout, "its system stopped in emergency mode"},
		"agent":       {"agent", enginetest.Guest{Prints: kernel + "x login: "}, fault.Timeout, "its guest agent did not answer; it asks for a login"},
		"report":      {"report", enginetest.Guest{Prints: kernel + "x login: "}, fault.Timeout, "it reported nothing on its port org.vmctl.0"},
		"promise":     {"auto", enginetest.Guest{Agent: true, Reports: []string{booting}}, fault.Timeout, "it said that it is booting, and not yet that it is ready"},
		"units":       {"report", enginetest.Guest{Reports: []string{failed}}, fault.Other, "example has booted, but units failed: nginx.service"},
		"ssh":         {"ssh", enginetest.Guest{Prints: kernel + "x login: "}, fault.Timeout, "no address is known at which its port 22 could be reached"},
		"console":     {"console /done/", enginetest.Guest{Agent: true, Prints: "x login: "}, fault.Timeout, "its console printed nothing that matches /done/"},
		"secure boot": {
			"auto", enginetest.Guest{Prints: "BdsDxe: failed to load Boot0001 \"UEFI Misc Device\" from PciRoot(0x0): Access Denied\r\n"}, fault.Other,
			"example does not boot: the firmware refused what is on its disk, because it is not signed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := boot(t, tc.guest)
				_, err := until(t, h, guest.Options{
					Timeout: time.Minute,
					Targets: func(context.Context, uint16) []string { return nil },
				}, tc.ready)
				require.ErrorContains(t, err, tc.want)
				assert.Equal(t, tc.kind, fault.KindOf(err))
				assert.NotEmpty(t, fault.HintOf(err))
			})
		})
	}
}

// serve listens and treats each connection with handle.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer func() { _ = c.Close() }(); handle(c) }()
		}
	}()
	return l.Addr().String()
}

func TestPortsThatAnswer(t *testing.T) {
	greets := serve(t, func(c net.Conn) { _, _ = c.Write([]byte("SSH-2.0-test\r\n")); _, _ = c.Read(make([]byte, 1)) })
	listens := serve(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) })
	breaks := serve(t, func(net.Conn) {})
	for name, tc := range map[string]struct{ ready, target, want string }{
		"ssh":                 {"ssh", greets, ""},
		"port of ssh":         {"port 22", greets, ""},
		"port":                {"port 80", listens, ""},
		"ssh, silent":         {"ssh", listens, "no ssh server answers at"},
		"port, broken off":    {"port 80", breaks, "nothing listens behind"},
		"ssh, nobody listens": {"ssh", "127.0.0.1:1", "127.0.0.1:1 refuses connections"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := boot(t, enginetest.Guest{Prints: "x login: "})
			outcome, err := until(t, h, guest.Options{
				Timeout: 5 * time.Second,
				Targets: func(context.Context, uint16) []string { return []string{tc.target} },
			}, tc.ready)
			if tc.want == "" {
				require.NoError(t, err)
				assert.NotEmpty(t, outcome.How)
				return
			}
			require.ErrorContains(t, err, tc.want)
			assert.Equal(t, fault.Timeout, fault.KindOf(err))
		})
	}
}

func TestParseReport(t *testing.T) {
	r, ok := guest.ParseReport([]byte(`{"vmctl":1,"state":"ready","addresses":["fe80::1","::1","192.0.2.7","192.0.2.7","x\u001b[31m"],` +
		`"ssh_host_keys":["ssh-ed25519 AAAA\u001b","ssh-dss AAAA","* ssh-ed25519 AAAA","ssh-rsa AAAAB3Nz c"],"failed_units":["a.service","b; rm","x\ny"],"more":1}`))
	require.True(t, ok)
	assert.Equal(t, guest.Report{
		State: guest.StateReady, Addresses: []string{"192.0.2.7"}, HostKeys: []string{"ssh-rsa AAAAB3Nz"}, FailedUnits: []string{"a.service"},
	}, r)
	for _, bad := range []string{"", "{}", "null", `{"vmctl":2,"state":"ready"}`, `{"vmctl":1,"state":"done"}`, `{"vmctl":1,"state":"ready"} x`, strings.Repeat("[", 1<<17), `{"vmctl":1,"state":"ready"}` + strings.Repeat(" ", 64<<10)} {
		_, ok := guest.ParseReport([]byte(bad))
		assert.False(t, ok, bad[:min(len(bad), 40)])
	}
}

func FuzzReport(f *testing.F) {
	f.Add([]byte(ready))
	f.Add([]byte(failed))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, _ := guest.ParseReport(line)
		for _, s := range append(append(r.Addresses, r.HostKeys...), r.FailedUnits...) {
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("%q", s)
			}
		}
	})
}
