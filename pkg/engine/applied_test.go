package engine_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
)

// TestAppliedSystemNeedsNoImage: a guest that was brought to the system of another image is
// as that image's, built or not, and keeps its root disk.
func TestAppliedSystemNeedsNoImage(t *testing.T) {
	for name, first := range map[string]engine.Wanted{"in the store": inStore(), "uploaded": inFile(t)} {
		t.Run(name, func(t *testing.T) {
			h := enginetest.NewHost(enginetest.Options{})
			up(t, h, first, engine.Options{})
			e, machine := on(h), first.Machine.Name
			applied := engine.Applied{System: "/nix/store/second", Image: "nix-2222"}
			require.NoError(t, e.NoteApplied(t.Context(), machine, "/nix/store/first", applied))
			d, err := e.Managed(t.Context(), machine)
			require.NoError(t, err)
			assert.Equal(t, []engine.Applied{{System: "/nix/store/first", Image: first.Image.ID}, applied}, d.Record.Applied)
			h.Forget()
			require.NoError(t, e.NoteApplied(t.Context(), machine, "", applied))
			assert.Empty(t, h.Changes(), "what is noted already is not noted again")

			second := first
			second.System = true
			second.Image = engine.Image{ID: "nix-2222-9f"} // not built
			outcome := up(t, h, second, engine.Options{})
			assert.Empty(t, outcome.Plan.Ops)
			assert.True(t, outcome.Kept)
			// Also with --replace: nothing has to be made anew.
			assert.Empty(t, up(t, h, second, engine.Options{Replace: true}).Plan.Ops)

			// A definition that is made anew still names what was applied, and the base as it is.
			before, err := e.Managed(t.Context(), machine)
			require.NoError(t, err)
			second.Machine.Network = "user"
			assert.Contains(t, up(t, h, second, engine.Options{}).Plan.String(), "define domain")
			after, err := e.Managed(t.Context(), machine)
			require.NoError(t, err)
			assert.Equal(t, before.Record.Applied, after.Record.Applied)
			assert.Equal(t, before.Record.Base, after.Record.Base)
			assert.Equal(t, before.Record.Image, after.Record.Image)

			third := second
			third.Image.ID = "nix-3333"
			_, err = e.Plan(t.Context(), third, engine.Options{})
			require.ErrorIs(t, err, engine.ErrImageNeeded)
			third.Image = first.Image
			third.Image.ID = "nix-3333"
			_, err = e.Up(t.Context(), third, engine.Options{})
			require.ErrorContains(t, err, "would be replaced")
			var refused *fault.Error
			require.ErrorAs(t, err, &refused)
			assert.Contains(t, refused.Hint(), "vmctl apply "+machine)

			// Its own image is not what the guest has any more, until it goes back.
			_, err = e.Up(t.Context(), first, engine.Options{})
			require.ErrorContains(t, err, "would be replaced")
			require.NoError(t, e.NoteApplied(t.Context(), machine, "", engine.Applied{System: "/nix/store/first"}))
			first.Machine = second.Machine
			assert.Empty(t, up(t, h, first, engine.Options{}).Plan.Ops)

			// A root disk that is made anew has the system of its image.
			up(t, h, third, engine.Options{Replace: true})
			d, err = e.Managed(t.Context(), machine)
			require.NoError(t, err)
			assert.Empty(t, d.Record.Applied)
			assert.Equal(t, "nix-3333", d.Record.Image)
		})
	}
}

func TestFewSystemsAreRemembered(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, inStore(), engine.Options{})
	e, machine := on(h), inStore().Machine.Name
	for i := range 20 {
		require.NoError(t, e.NoteApplied(t.Context(), machine, "", engine.Applied{System: "/nix/store/" + string(rune('a'+i)), Image: "nix-x"}))
	}
	d, err := e.Managed(t.Context(), machine)
	require.NoError(t, err)
	assert.Len(t, d.Record.Applied, 12)
	assert.Equal(t, "/nix/store/t", d.Record.Applied[11].System)
}
