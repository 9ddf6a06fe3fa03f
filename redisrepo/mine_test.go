package redisrepo

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func (e *env) mine(t *testing.T, user string) (groups []string, known bool) {
	t.Helper()
	groups, age, known, err := e.store.OwnGroups(t.Context(), user)
	require.NoError(t, err)
	if known {
		require.Less(t, age, time.Minute)
		require.GreaterOrEqual(t, age, time.Duration(0))
	}
	slices.Sort(groups)
	return groups, known
}

func (e *env) lastNote(t *testing.T, user string) string {
	t.Helper()
	notes, err := e.store.Since(t.Context(), map[string]string{user: ""})
	require.NoError(t, err)
	if list := notes[user]; len(list) > 0 {
		return list[len(list)-1].ID
	}
	return "0-0"
}

func TestNotesKeepTheListOfGroupsRight(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		tell := func(kind domain.NoteKind, group string) {
			require.NoError(t, e.store.Tell(ctx, map[string]domain.Note{"u": {Kind: kind, Group: group}}))
		}
		tell(domain.NoteJoined, "x")
		_, known := e.mine(t, "u")
		require.False(t, known, "a note alone makes no list")

		require.NoError(t, e.store.RememberGroups(ctx, "u", []string{"a", "b"}, "0-0"))
		_, known = e.mine(t, "u")
		require.False(t, known, "a list from before the note is not kept")

		require.NoError(t, e.store.RememberGroups(ctx, "u", []string{"a", "b"}, e.lastNote(t, "u")))
		tell(domain.NoteJoined, "c")
		tell(domain.NoteLeft, "a")
		tell(domain.NoteClose, "")
		groups, known := e.mine(t, "u")
		require.True(t, known)
		require.Equal(t, []string{"b", "c"}, groups)

		require.NoError(t, e.store.RememberGroups(ctx, "v", nil, "0-0"))
		groups, known = e.mine(t, "v")
		require.True(t, known, "to be in no group is something to know")
		require.Empty(t, groups)
	})
}

func TestFloorsServeUntilTheGroupIsSeeded(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		floor := domain.Floor{MaxSeq: 9, LastMS: 1_700_000_000_000, Holes: domain.Holes{{From: 1, To: 3, Reason: domain.HoleExpired}, {From: 5, To: 5, Reason: domain.HoleLost}}}
		require.NoError(t, e.store.FillFloors(ctx, map[string]domain.Floor{"a": floor, "empty": {}}))
		heads, err := e.store.Heads(ctx, "", []string{"a", "empty", "none"})
		require.NoError(t, err)
		require.Equal(t, []bool{true, true, false}, []bool{heads[0].Seeded, heads[1].Seeded, heads[2].Seeded})
		require.Equal(t, domain.Head{Group: "a", MaxSeq: 9, LastMS: floor.LastMS, PersistedSeq: 9, Holes: floor.Holes}, heads[0].Head)
		require.Equal(t, domain.Head{Group: "empty"}, heads[1].Head)

		seed := map[string]domain.Seed{"a": {Start: 1_000_009, LastMS: floor.LastMS, Holes: domain.Holes{{From: 10, To: 1_000_009, Reason: domain.HoleLost}}}}
		require.NoError(t, e.store.SetSeeds(ctx, e.cfg.Partitions.Of("a"), 1, seed))
		heads, err = e.store.Heads(ctx, "", []string{"a"})
		require.NoError(t, err)
		require.Equal(t, int64(1_000_009), heads[0].MaxSeq)

		p := e.cfg.Partitions.Of("a")
		require.NoError(t, e.store.rdb.HSet(ctx, floorKey(p, 1), "bad", "x").Err())
		require.NoError(t, e.store.rdb.HSet(ctx, floorKey(e.cfg.Partitions.Of("bad"), 1), "bad", "x").Err())
		_, err = e.store.Heads(ctx, "", []string{"bad"})
		require.Error(t, err)
	})
}
