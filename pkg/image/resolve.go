package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/image/cache"
	"vmctl/pkg/image/checksum"
	"vmctl/pkg/image/fetch"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

func pathOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Path
}

// answer is what a file of checksums said, for the next time.
type answer struct {
	Digest checksum.Digest `json:"digest"`
}

// fetched downloads an image once it is known what it must be. What a file of checksums
// said is remembered, so that a machine does not change by itself and nobody has to be
// asked; refresh asks again, and so does an image that is not in the cache any more.
func (o obtainer) fetched(ctx context.Context, image spec.Image, address, sums string) (cache.Entry, error) {
	wanted := func(d checksum.Digest, source string) fetch.Wanted {
		return fetch.Wanted{URL: address, Digest: d, Name: base(address), Source: source, Task: o.Task}
	}
	if image.SHA256 != "" {
		return o.client().Get(ctx, o.dir, wanted(checksum.Digest{Algorithm: checksum.SHA256, Hex: image.SHA256}, "sha256 in the definition"))
	}
	source := fetch.Display(sums)
	key := noteOf(address, sums)
	var was answer
	remembered := o.dir.Noted(key, &was) && was.Digest.Valid()
	if remembered && !o.Refresh {
		if e, ok := o.dir.Find(was.Digest.String()); ok {
			return e, nil
		}
	}
	now, answered, err := o.ask(ctx, sums, base(address))
	switch {
	case err == nil:
	case !remembered || answered || ctx.Err() != nil:
		return cache.Entry{}, err
	default:
		o.sink().Emit(progress.Event{
			ID: o.Task + "/known", Status: progress.Note,
			Text: "the image that was known before is used: " + err.Error(),
		})
		now = was.Digest
	}
	e, err := o.client().Get(ctx, o.dir, wanted(now, source))
	if err != nil {
		return cache.Entry{}, err
	}
	// Only what was downloaded and found to be right is worth remembering.
	return e, o.note(ctx, key, answer{now})
}

// ask reads a publisher's file of checksums; answered says that there was one.
func (o obtainer) ask(ctx context.Context, sums, name string) (d checksum.Digest, answered bool, err error) {
	event := progress.Event{ID: o.Task + "/checksums", Text: "read " + ansi.Plain(fetch.Display(sums))}
	o.sink().Emit(event)
	text, err := o.client().Text(ctx, sums, checksum.MaxBytes)
	if answered = err == nil; answered {
		if d, err = checksum.Find(text, name); err != nil {
			err = fault.New(fault.Build, "%s does not say what the image must be: %w", ansi.Plain(fetch.Display(sums)), err).WithHint("%s", fault.HintOf(err))
		}
	}
	if event.Status = progress.Done; err != nil {
		event.Status, event.Err = progress.Failed, err
	}
	o.sink().Emit(event)
	return d, answered, err
}

func (o obtainer) note(ctx context.Context, key string, a answer) error {
	err := o.dir.Make()
	if err == nil {
		err = o.dir.Note(key, a)
	}
	if err != nil {
		return o.unkept(ctx, err)
	}
	return nil
}

// noteOf names what is remembered of an image's checksum.
func noteOf(address, sums string) string {
	sum := sha256.Sum256([]byte(address + "\n" + sums))
	return "checksum-" + hex.EncodeToString(sum[:16])
}
