package guest

import (
	"context"
	"crypto/rand"
	"strings"

	"vmctl/images"
	"vmctl/pkg/fault"
)

// Place is a directory in a guest's memory that secrets go to.
type Place struct {
	agent *Agent
	dir   string
}

// makeScript makes a directory that nobody but root looks into, where it stays in memory.
const makeScript = guestPath + `umask 077
case $(stat -f -c %T "$1" 2>/dev/null) in tmpfs | ramfs) ;; *) echo "$1 is not in memory" >&2; exit 1 ;; esac
command -v tar >/dev/null || { echo "there is no tar" >&2; exit 1; }
mkdir "$2"`

// Place makes a place below a directory of the guest that is in memory, such as /run. It is
// refused where the agent or the guest cannot do that.
func (a *Agent) Place(ctx context.Context, memory string) (*Place, error) {
	p := &Place{a, strings.TrimSuffix(memory, "/") + "/vmctl-" + rand.Text()}
	err := run1(ctx, a, Command{Argv: script(makeScript, memory, p.dir)}, "make a place for secrets")
	if err != nil && !fault.Is(err, fault.Interrupted) {
		return nil, fault.New(fault.Refused, "%s cannot be handed secrets through its agent: %w", a.domain, err).WithHint("%s", fault.HintOf(err))
	}
	return p, err
}

// TakingScript takes a pack of secrets, which is its argument. Guests have it for the disk
// that secrets come on at a boot; one that is handed it along needs no copy.
func TakingScript() string { return images.Credentials }

// Hand gives the guest a pack of secrets, in pieces that its agent writes, and lets a
// script take it.
func (p *Place) Hand(ctx context.Context, text string, pack []byte) error {
	if err := p.agent.put(ctx, p.dir+"/pack", pack); err != nil {
		return p.agent.refusal(err, "hand over secrets")
	}
	return run1(ctx, p.agent, Command{Argv: script(guestPath+text, p.dir+"/pack")}, "take its secrets")
}

// Remove leaves nothing of the place, also when ctx has ended.
func (p *Place) Remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	return run1(ctx, p.agent, Command{Argv: script(guestPath+`rm -rf "$1"`, p.dir)}, "remove what was handed over")
}
