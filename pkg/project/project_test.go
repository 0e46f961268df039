package project_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/project"
	"vmctl/pkg/spec"
)

// newProject is a project with the files, and the directory it is in is entered.
func newProject(t *testing.T, files map[string]string) project.Project {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "domain"), 0o755))
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "domain", name), []byte(text), 0o644))
	}
	t.Chdir(dir)
	return project.Project{Dir: dir}
}

func TestFind(t *testing.T) {
	p := newProject(t, nil)
	deep := filepath.Join(p.Dir, "images", "example")
	require.NoError(t, os.MkdirAll(deep, 0o755))
	// A file called domain makes no project.
	require.NoError(t, os.WriteFile(filepath.Join(deep, "domain"), nil, 0o644))
	for _, dir := range []string{"", ".", p.Dir, "domain", "images", deep} {
		found, err := project.Find(dir)
		require.NoError(t, err, dir)
		assert.Equal(t, p, found, dir)
	}
	t.Chdir(deep)
	found, err := project.Find("")
	require.NoError(t, err)
	assert.Equal(t, p, found)
}

func TestFindNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	for start, want := range map[string]string{
		dir:                          "no vmctl project here",
		filepath.Join(dir, "absent"): "there is no directory",
		file:                         "is not a directory",
	} {
		_, err := project.Find(start)
		require.ErrorContains(t, err, want)
		assert.Equal(t, fault.NotFound, fault.KindOf(err))
	}
	_, err := project.Find(dir)
	assert.Contains(t, fault.HintOf(err), "-C DIR")
}

func TestFindWhereTheDirectoryIsGone(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	require.NoError(t, os.Remove(dir))
	_, err := project.Find("")
	require.ErrorContains(t, err, "the current directory is gone")
	assert.Equal(t, "cd to a directory that exists", fault.HintOf(err))
}

func TestNames(t *testing.T) {
	p := newProject(t, map[string]string{
		"web.yaml": "", "db.yaml": "", "Upper.yaml": "", "old.yml": "", ".hidden.yaml": "", "web.yaml~": "", "#web.yaml#": "", "README": "",
	})
	names, err := p.Names()
	require.NoError(t, err)
	assert.Equal(t, []string{"db", "web"}, names)

	empty := newProject(t, nil)
	names, err = empty.Names()
	require.NoError(t, err)
	assert.Equal(t, []string{}, names)

	_, err = project.Project{Dir: filepath.Join(empty.Dir, "gone")}.Names()
	assert.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestLoad(t *testing.T) {
	p := newProject(t, map[string]string{"web.yaml": "memory: 2GiB\n"})
	m, err := p.Load("web")
	require.NoError(t, err)
	want := spec.Defaults("web")
	want.Memory = 2 * spec.GiB
	assert.Equal(t, want, m)

	// A link to a definition kept elsewhere is as good as the file.
	elsewhere := filepath.Join(t.TempDir(), "shared")
	require.NoError(t, os.WriteFile(elsewhere, []byte("cpus: 3\n"), 0o644))
	require.NoError(t, os.Symlink(elsewhere, p.Path("linked")))
	m, err = p.Load("linked")
	require.NoError(t, err)
	assert.Equal(t, 3, m.CPUs)
}

func TestLoadBad(t *testing.T) {
	p := newProject(t, map[string]string{
		"example.yaml": "cpus: 1\n", "tiny.yaml": "cpus: 1\n", "old.yml": "cpus: 1\n", "wrong.yaml": "cpus: many\n", "empty.yaml": "",
		"large.yaml": strings.Repeat("# comment\n", 100_000),
	})
	require.NoError(t, os.Mkdir(p.Path("directory"), 0o755))
	require.NoError(t, os.Symlink("nowhere", p.Path("dangling")))
	require.NoError(t, os.Symlink("loop.yaml", p.Path("loop")))
	require.NoError(t, os.Symlink("/dev/zero", p.Path("device")))
	require.NoError(t, syscall.Mkfifo(p.Path("pipe"), 0o644))

	for name, want := range map[string]struct {
		kind       fault.Kind
		text, hint string
	}{
		"exmaple":                {fault.NotFound, "there is no machine called exmaple; did you mean example?", "example, large"},
		"zzz":                    {fault.NotFound, "there is no machine called zzz", "the project's machines are"},
		"old":                    {fault.NotFound, "domain/old.yml is not read", "mv domain/old.yml domain/old.yaml"},
		"../domain/example":      {fault.Usage, "cannot be a machine's name", "small letters"},
		"example.yaml":           {fault.Usage, "not its file", "did you mean example?"},
		"-x":                     {fault.Usage, "it begins with -", ""},
		"a\nb":                   {fault.Usage, "a line break", ""},
		strings.Repeat("a", 200): {fault.Usage, "200 characters", ""},
		"wrong":                  {fault.Invalid, "domain/wrong.yaml:1:7: cpus:", ""},
		"empty":                  {fault.Invalid, "domain/empty.yaml:1:1: the definition is empty", ""},
		"large":                  {fault.Invalid, "domain/large.yaml: the file has more than 64KiB", ""},
		"directory":              {fault.Invalid, "domain/directory.yaml cannot be read: it is a directory", ""},
		"dangling":               {fault.Invalid, "domain/dangling.yaml is a link to nowhere, which is not there", ""},
		"loop":                   {fault.Invalid, "domain/loop.yaml cannot be read: too many levels of symbolic links", ""},
		"device":                 {fault.Invalid, "domain/device.yaml cannot be read: it is not a regular file", ""},
		"pipe":                   {fault.Invalid, "domain/pipe.yaml cannot be read: it is not a regular file", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := p.Load(name)
			require.ErrorContains(t, err, want.text)
			assert.Nil(t, m)
			assert.Equal(t, want.kind, fault.KindOf(err))
			assert.Contains(t, fault.HintOf(err), want.hint)
		})
	}
}

func TestLoadUnreadable(t *testing.T) {
	p := newProject(t, map[string]string{"web.yaml": "cpus: 1\n"})
	require.NoError(t, os.Chmod(p.Path("web"), 0))
	result := make(chan error)
	go func() {
		if os.Geteuid() == 0 {
			// Root may read everything, so this thread's file access becomes nobody's. It
			// is never unlocked, and so ends with the goroutine.
			runtime.LockOSThread()
			if err := syscall.Setfsuid(65534); err != nil {
				result <- err
				return
			}
		}
		_, err := p.Load("web")
		result <- err
	}()
	err := <-result
	require.EqualError(t, err, "domain/web.yaml cannot be read: permission denied")
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
}

func TestLoadInAnEmptyProject(t *testing.T) {
	p := newProject(t, nil)
	_, err := p.Load("web")
	require.EqualError(t, err, "there is no machine called web")
	assert.Equal(t, "the project has no machines yet: vmctl init web", fault.HintOf(err))
}

func TestLoadAll(t *testing.T) {
	p := newProject(t, map[string]string{
		"b.yaml": "cpus: 1\n", "a.yaml": "cpus: 2\n", "c.yaml": "cpus: 0\n", "d.yml": "cpus: 1\n", "Upper.yaml": "cpus: 1\n", "README.md": "",
	})
	machines, err := p.LoadAll()
	require.Len(t, machines, 2)
	assert.Equal(t, "a", machines[0].Name)
	assert.Equal(t, "b", machines[1].Name)
	assert.EqualError(t, err, strings.Join([]string{
		`domain/Upper.yaml: "Upper" cannot be a machine's name: it has capital letters`,
		`      hint: did you mean upper?`,
		`domain/c.yaml:1:7: cpus: "0" is too few: the least is 1`,
		`    1 | cpus: 0`,
		`      |       ^`,
		`domain/d.yml: the file is not read: definitions end in .yaml`,
		`      hint: rename it to domain/d.yaml`,
	}, "\n"))

	require.NoError(t, os.Symlink("nowhere", p.Path("e")))
	_, err = p.LoadAll()
	var report *spec.Error
	require.ErrorAs(t, err, &report)
	assert.ErrorContains(t, err, "domain/e.yaml is a link to nowhere")
}

// Paths are shown as they are typed from where the person is.
func TestPathsAreShort(t *testing.T) {
	p := newProject(t, map[string]string{"web.yaml": "cpus: 0\n"})
	t.Chdir("domain")
	_, err := p.Load("web")
	require.ErrorContains(t, err, "web.yaml:1:7:")
	assert.True(t, strings.HasPrefix(err.Error(), "web.yaml"))
	t.Chdir("/")
	_, err = p.Load("web")
	assert.True(t, strings.HasPrefix(err.Error(), p.Path("web")[1:]) || strings.HasPrefix(err.Error(), p.Path("web")))
}
