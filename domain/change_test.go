package domain_test

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestAChangeIsForgottenOnceRedisHasIt(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "g", Type: domain.Private, Name: "G"}, as(domain.Owner, "ann"), as(domain.Member, "bob"))
	require.NoError(t, w.groups.RemoveMember(ctx, user("ann"), "g", "bob"))
	require.Empty(t, w.mysql.kept)

	w.mysql.members["g"]["bob"] = domain.Membership{User: "bob", Role: domain.Member}
	w.redis.down = errDown
	requireCode(t, w.groups.RemoveMember(ctx, user("ann"), "g", "bob"), domain.CodeUnavailable, "")
	require.Len(t, w.mysql.kept, 1, "somebody has to bring it to Redis")
}

func TestARepeatedRemovalDoesNotUndoALaterJoin(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "g", Type: domain.Private, Name: "G"}, as(domain.Owner, "ann"), as(domain.Member, "bob"))
	var kept *domain.GroupChange
	w.mysql.tells = func(c *domain.GroupChange) {
		if kept == nil {
			copied := *c
			copied.Notes = maps.Clone(c.Notes)
			kept = &copied
		}
	}
	require.NoError(t, w.groups.RemoveMember(ctx, user("ann"), "g", "bob"))
	require.Contains(t, kept.Notes, "bob")
	_, err := w.groups.AddMembers(ctx, user("ann"), "g", []string{"bob"})
	require.NoError(t, err)
	require.NoError(t, w.groups.Repeat(ctx, kept))
	require.NotContains(t, kept.Notes, "bob", "he is in")
}

// What the job repeats has been in MySQL meanwhile, as JSON.
func TestARepeatedChangeTellsTheSame(t *testing.T) {
	t.Parallel()
	name := "New"
	for what, do := range map[string]func(w *world) error{
		"created": func(w *world) error {
			_, err := w.groups.Create(ctx, user("ann"), domain.NewGroup{ID: "h", Type: domain.Private, Name: "H", Members: []string{"bob"}})
			return err
		},
		"updated": func(w *world) error {
			_, err := w.groups.Update(ctx, user("ann"), "g", domain.GroupPatch{Name: &name})
			return err
		},
		"joined": func(w *world) error {
			_, err := w.groups.AddMembers(ctx, user("ann"), "g", []string{"zoe", "bob"})
			return err
		},
		"removed": func(w *world) error { return w.groups.RemoveMember(ctx, user("ann"), "g", "bob") },
		"blocked": func(w *world) error { return w.groups.Block(ctx, user("ann"), "g", "bob") },
		"role": func(w *world) error {
			_, err := w.groups.UpdateMember(ctx, user("ann"), "g", "bob", domain.MemberPatch{Role: domain.Owner})
			return err
		},
		"dismissed": func(w *world) error { return w.groups.Dismiss(ctx, user("ann"), "g") },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.add(domain.Group{ID: "g", Type: domain.Private, Name: "G"}, as(domain.Owner, "ann"), as(domain.Member, "bob"))
			w.mysql.tells = func(c *domain.GroupChange) {
				stored, err := json.Marshal(c)
				require.NoError(t, err)
				w.mysql.stored = stored
			}
			require.NoError(t, do(w))
			direct := w.redis.take()

			var kept domain.GroupChange
			require.NoError(t, json.Unmarshal(w.mysql.stored, &kept))
			w.mysql.kept[kept.Kept] = true
			require.NoError(t, w.groups.Repeat(ctx, &kept))
			require.Equal(t, direct, w.redis.take())
			require.Empty(t, w.mysql.kept)
		})
	}
}
