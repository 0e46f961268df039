package cli

import (
	"context"
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/progress"
	"vmctl/pkg/secret"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

// viaDisk hands secrets over as at a boot.
const viaDisk = "disk"

func secretPushCommand() *command {
	return &command{
		name: "push", takes: ownWords, run: runSecretPush,
		summary: "Hand a running machine its secrets again",
		about: []string{
			"Reads the machine's secrets, or those named, and hands them to the running guest: through its agent into the guest's memory, which needs nothing else of " +
				"vmctl's in the guest; where no agent can do that, on a disk as at a boot. Units that have a copy keep it until they are " +
				"restarted in the guest: systemctl restart NAME.",
		},
		options: []option{{
			name: "via", kind: isText, value: "WAY", choices: []string{viaAuto, viaAgent, viaDisk}, preset: viaAuto,
			help: "how they come into the guest: agent, disk, or auto, which takes what works",
		}},
		args: &arguments{usage: "NAME [SECRET...]", one: "the name of a machine", least: 1, most: -1, hint: "vmctl secret list NAME lists its secrets", complete: completeSecrets},
		examples: []example{
			{"vmctl secret push example", "all of them"},
			{"vmctl secret push example db", "one of them"},
		},
		json: `{
  "name": "example",
  "host": "qemu:///session",
  "via": "agent",
  "secrets": ["db", "host key"]
}`,
	}
}

// pushResult is what secret push tells.
type pushResult struct {
	Name    string   `json:"name"`
	Host    string   `json:"host"`
	Via     string   `json:"via"`
	Secrets []string `json:"secrets"`
}

// pushed is what is to be pushed.
type pushed struct {
	t       *target
	secrets []spec.Secret
	// key says that the host key is among it, complete that nothing of the machine's is
	// missing.
	key, complete bool
}

func (p pushed) names() []string { return namesOf(p.secrets, p.key, hostKeyName) }

func runSecretPush(ctx context.Context, c *call, in *urfave.Context) error {
	name, chosen := c.line.args[0], unique(c.line.args[1:])
	if err := spec.CheckName(name); err != nil {
		return err
	}
	t, err := c.declared(name)
	if err != nil {
		return err
	}
	p := pushed{t: t, secrets: t.machine.Secrets, key: t.machine.Identity, complete: true}
	if len(p.names()) == 0 {
		return fault.New(fault.NotFound, "%s has no secrets", name).WithHint("name them in its definition: secrets: {db: {file: ~/.secrets/db}}")
	}
	if len(chosen) > 0 {
		if p.secrets, err = secretsNamed(t, chosen); err != nil {
			return err
		}
		p.key, p.complete = false, false
	}
	e, err := c.engine(ctx, t.uri, t.project)
	if err != nil {
		return err
	}
	d, err := e.Managed(ctx, name)
	if err != nil {
		return c.known(ctx, t, e, err)
	}
	via, err := c.push(ctx, e, d, p, in.String("via"))
	if err != nil {
		return err
	}
	c.progress.Close()
	if c.json() {
		return ui.JSON(c.streams, pushResult{name, e.Host.URI, via, p.names()})
	}
	c.say(fmt.Sprintf("%s has taken %s; units that use them have to be restarted in the guest", name, join(p.names(), ", ")))
	return nil
}

// push hands secrets over by the way that works, and says which.
func (c *call) push(ctx context.Context, e *engine.Engine, d *engine.Domain, p pushed, via string) (string, error) {
	if !d.State.Active() {
		return "", fault.New(fault.Refused, "%s is %s, and there is nobody to hand secrets to", d.Name, d.State).
			WithHint("vmctl start %s hands them over at the boot", d.Name)
	}
	byFirmware := p.t.machine.SecretsBy == spec.CarrierFirmware
	if via != viaDisk {
		has, err := e.Host.Events.AgentConnected(ctx, d.Name)
		if err != nil {
			return "", err
		}
		if has || via == viaAgent || byFirmware {
			place, err := guest.NewAgent(e.Host, d.Name).Place(ctx, "/run")
			switch {
			case err == nil:
				return viaAgent, c.pushTo(ctx, e, place, p)
			case via == viaAgent || !fault.Is(err, fault.Refused):
				return "", err
			case byFirmware:
				return "", fault.New(fault.Refused, "%w", err).WithHint("vmctl restart %s hands them over at the boot", d.Name)
			}
			c.note(d.Name, fault.New(fault.Other, "%w; they go by a disk", err))
		}
	}
	delivery := c.packed(p.t, p.secrets, p.key, p.complete)
	if err := e.Push(ctx, d.Name, delivery); err != nil {
		return "", err
	}
	return viaDisk, e.Deliver(ctx, d.Name, nil, runningTakes)
}

// pushTo hands secrets over through the agent, one vmctl at a time.
func (c *call) pushTo(ctx context.Context, e *engine.Engine, place *guest.Place, p pushed) (err error) {
	defer func() {
		if left := place.Remove(ctx); err == nil {
			err = left
		}
	}()
	unlock, err := e.Locker.Lock(ctx, p.t.name)
	if err != nil {
		return err
	}
	defer unlock()
	packed, err := c.readSecrets(ctx, p.t, p.secrets, p.key, secret.NewPack(p.complete))
	if err != nil {
		return err
	}
	defer secret.Wipe(packed[0])
	event := progress.Event{ID: p.t.name + "/hand over", Text: "hand over secrets to " + p.t.name, Detail: join(p.names(), ", ")}
	c.progress.Emit(event)
	err = place.Hand(ctx, guest.TakingScript(), packed[0])
	event.Status, event.Err = progress.Done, err
	if err != nil {
		event.Status = progress.Failed
	}
	c.progress.Emit(event)
	return err
}
