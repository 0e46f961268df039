package cli

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
)

func noEnv(string) string { return "" }

func TestFlagsMayStandAnywhere(t *testing.T) {
	for name, tt := range map[string]struct {
		args   []string
		env    map[string]string
		verb   string
		global []string
		local  []string
		rest   []string
		help   bool
	}{
		"nothing":                {},
		"verb and name":          {args: []string{"up", "example"}, verb: "up", rest: []string{"example"}},
		"flag before the name":   {args: []string{"up", "--replace", "example"}, verb: "up", local: []string{"--replace=true"}, rest: []string{"example"}},
		"flag behind the name":   {args: []string{"up", "example", "--replace"}, verb: "up", local: []string{"--replace=true"}, rest: []string{"example"}},
		"value behind the name":  {args: []string{"up", "example", "--timeout", "1m"}, verb: "up", local: []string{"--timeout=1m"}, rest: []string{"example"}},
		"value with =":           {args: []string{"up", "--timeout=1m", "example"}, verb: "up", local: []string{"--timeout=1m"}, rest: []string{"example"}},
		"global flag at the end": {args: []string{"list", "-c", "qemu:///system"}, verb: "list", global: []string{"--connect=qemu:///system"}},
		"global flag in front":   {args: []string{"-c", "qemu:///system", "list"}, verb: "list", global: []string{"--connect=qemu:///system"}},
		"global flag between":    {args: []string{"up", "-o", "json", "a", "b"}, verb: "up", global: []string{"--output=json"}, rest: []string{"a", "b"}},
		"letters together":       {args: []string{"list", "-aq"}, verb: "list", global: []string{"--quiet=true"}, local: []string{"--all=true"}},
		"letter with its value":  {args: []string{"list", "-ojson"}, verb: "list", global: []string{"--output=json"}},
		"letters and a value":    {args: []string{"list", "-ao=json"}, verb: "list", global: []string{"--output=json"}, local: []string{"--all=true"}},
		"count":                  {args: []string{"logs", "example", "-fn20"}, verb: "logs", local: []string{"--follow=true", "--lines=20"}, rest: []string{"example"}},
		"end of flags":           {args: []string{"up", "--", "--replace"}, verb: "up", rest: []string{"--replace"}},
		"dash alone":             {args: []string{"up", "-"}, verb: "up", rest: []string{"-"}},
		"name like a flag":       {args: []string{"up", "replace", "--replace"}, verb: "up", local: []string{"--replace=true"}, rest: []string{"replace"}},
		"name like a verb":       {args: []string{"up", "down"}, verb: "up", rest: []string{"down"}},
		"switch switched off":    {args: []string{"up", "a", "--console=false"}, verb: "up", local: []string{"--console=false"}, rest: []string{"a"}},
		"help of a verb":         {args: []string{"up", "--help"}, verb: "up", help: true},
		"help in front":          {args: []string{"-h", "up"}, verb: "up", help: true},
		"from the environment": {
			args: []string{"up", "a"}, env: map[string]string{"VMCTL_ACCEL": "tcg", "VMCTL_PROJECT": "/p"},
			verb: "up", global: []string{"--project=/p"}, local: []string{"--accel=tcg"}, rest: []string{"a"},
		},
		"the flag beats the environment": {
			args: []string{"up", "a", "--accel", "kvm"}, env: map[string]string{"VMCTL_ACCEL": "tcg"},
			verb: "up", local: []string{"--accel=kvm"}, rest: []string{"a"},
		},
		"another verb's variable": {args: []string{"list"}, env: map[string]string{"VMCTL_ACCEL": "nonsense"}, verb: "list"},
		"comma in a value":        {args: []string{"list", "-C", "a,b"}, verb: "list", global: []string{"--project=a,b"}},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := read(commands(), tt.args, func(name string) string { return tt.env[name] })
			require.NoError(t, err)
			verb := ""
			if l.verb != nil {
				verb = l.verb.path()
			}
			assert.Equal(t, tt.verb, verb)
			assert.Equal(t, tt.global, l.global)
			assert.Equal(t, tt.local, l.local)
			assert.Equal(t, tt.rest, l.args)
			assert.Equal(t, tt.help, l.help)
		})
	}
}

func TestWrongLinesNameTheRightOne(t *testing.T) {
	for name, tt := range map[string]struct {
		args      []string
		env       map[string]string
		msg, hint string
	}{
		"unknown verb":          {args: []string{"upp"}, msg: `there is no command "upp"`, hint: "did you mean vmctl up?"},
		"unlike any verb":       {args: []string{"frobnicate"}, msg: `there is no command "frobnicate"`, hint: "vmctl help lists the commands"},
		"what virsh does":       {args: []string{"dumpxml", "tiny"}, msg: `there is no command "dumpxml"`, hint: "virsh dumpxml NAME does it: a machine is a domain as any other"},
		"another tool's verb":   {args: []string{"destroy"}, msg: `there is no command "destroy"`, hint: "did you mean vmctl down?"},
		"hidden verb":           {args: []string{"complet"}, msg: `there is no command "complet"`, hint: "did you mean vmctl completion?"},
		"unknown flag":          {args: []string{"up", "a", "--replcae"}, msg: "up has no flag --replcae", hint: "did you mean --replace?"},
		"unknown global flag":   {args: []string{"--conect", "x"}, msg: "vmctl has no flag --conect", hint: "did you mean --connect?"},
		"the flag of others":    {args: []string{"list", "--json"}, msg: "list has no flag --json", hint: "write -o json"},
		"unknown letter":        {args: []string{"up", "-z"}, msg: "up has no flag -z", hint: "vmctl up --help lists the flags"},
		"unknown letters":       {args: []string{"up", "-replace"}, msg: "up has no flag -replace", hint: "did you mean --replace?"},
		"letter as a long flag": {args: []string{"list", "--a"}, msg: "there is no flag --a", hint: "did you mean -a?"},
		"flag before its verb":  {args: []string{"--replace", "up"}, msg: "the flag --replace stands before the command it belongs to", hint: "write it behind the command, as in vmctl up --replace"},
		"no value":              {args: []string{"up", "a", "--timeout"}, msg: "--timeout needs a value", hint: "write --timeout TIME"},
		"a flag as the value":   {args: []string{"up", "--timeout", "--replace", "a"}, msg: "--timeout needs a value", hint: "write --timeout TIME"},
		"empty value":           {args: []string{"list", "--connect="}, msg: "--connect needs a value", hint: "write -c, --connect URI"},
		"no duration":           {args: []string{"up", "--timeout", "5"}, msg: `--timeout: "5" is not a duration`, hint: "write it as 90s, 5m or 1h30m"},
		"negative duration":     {args: []string{"up", "--timeout=-5s"}, msg: `--timeout: "-5s" is not a duration`, hint: "write it as 90s, 5m or 1h30m"},
		"no number":             {args: []string{"logs", "-n", "many"}, msg: `--lines: "many" is not a number`, hint: "write it as 20"},
		"no choice":             {args: []string{"list", "-o", "jsn"}, msg: `--output: "jsn" is not one of table, json`, hint: "did you mean json?"},
		"value of a switch":     {args: []string{"up", "--replace=maybe"}, msg: "--replace takes no value", hint: "write --replace alone"},
		"wrong variable":        {args: []string{"up", "a"}, env: map[string]string{"VMCTL_ACCEL": "fast"}, msg: `VMCTL_ACCEL: "fast" is not one of auto, kvm, tcg`, hint: "write one of auto, kvm, tcg"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(commands(), tt.args, func(name string) string { return tt.env[name] })
			require.Error(t, err)
			assert.Equal(t, tt.msg, err.Error())
			assert.Equal(t, tt.hint, fault.HintOf(err))
			assert.Equal(t, exitUsage, codeOf(err))
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add("up\x00example\x00--replace")
	f.Add("-c\x00--\x00-aq=\x00logs\x00-n=")
	f.Fuzz(func(t *testing.T, words string) {
		l, err := read(commands(), splitZero(words), noEnv)
		if err != nil {
			assert.Equal(t, exitUsage, codeOf(err))
			assert.NotEmpty(t, fault.HintOf(err))
			return
		}
		// What was understood is understood the same when urfave/cli gets it.
		again, err := read(commands(), l.argv()[1:], noEnv)
		require.NoError(t, err)
		assert.Equal(t, l.args, again.args)
		assert.Equal(t, l.local, again.local)
	})
}
