package redisrepo

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func snapshot(id string, n int) domain.HotSnapshot {
	s := domain.HotSnapshot{ID: id, TimeMS: 1_700_000_000_000}
	for i := range n {
		s.Entries = append(s.Entries, domain.HotEntry{Rank: i + 1, Group: fmt.Sprint("g", i), Heat: n - i, LastMS: s.TimeMS - 500 + int64(i)})
	}
	return s
}

func (e *env) save(t *testing.T, s domain.HotSnapshot, fresh, kept time.Duration) {
	t.Helper()
	current, err := e.store.SaveSnapshot(t.Context(), "room", "me", s, fresh, kept)
	require.NoError(t, err)
	require.Equal(t, s.ID, current)
}

func (e *env) turn(t *testing.T, typ, token string) domain.SnapshotTurn {
	t.Helper()
	turn, err := e.store.SnapshotTurn(t.Context(), typ, token, time.Minute)
	require.NoError(t, err)
	return turn
}

func TestSnapshotIsReadInPages(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		const lines = savePieces*pieceLines + pieceLines + 25 // more than one command writes
		want := snapshot("s1", lines)
		e.save(t, want, time.Minute, time.Minute)
		for _, page := range []struct{ from, limit, got int }{
			{0, 10, 10},
			{10, 10, 10},
			{lines - 5, 10, 5},
			{lines, 10, 0},
			{lines + 3*pieceLines, 10, 0},
			{0, 200, 200},
			{pieceLines - 1, 2, 2},
			{pieceLines - 10, 200, 200},
			{pieceLines, pieceLines, pieceLines},
			{savePieces*pieceLines - 1, 200, 200},
		} {
			got, total, ok, err := e.store.SnapshotPage(t.Context(), "room", "s1", page.from, page.limit, time.Minute)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, lines, total)
			require.Equal(t, want.TimeMS, got.TimeMS)
			require.Len(t, got.Entries, page.got)
			for i, entry := range got.Entries {
				require.Equal(t, want.Entries[page.from+i], entry)
			}
		}
		for _, n := range []int{0, 1, pieceLines, savePieces * pieceLines} {
			id := fmt.Sprint("of", n)
			_, err := e.store.SaveSnapshot(t.Context(), "all", "me", snapshot(id, n), time.Minute, time.Minute)
			require.NoError(t, err)
			got, total, ok, err := e.store.SnapshotPage(t.Context(), "all", id, 0, n+1, time.Minute)
			require.NoError(t, err)
			require.True(t, ok, "an empty ranking is a ranking")
			require.Equal(t, n, total)
			require.Len(t, got.Entries, n)
		}
		_, _, ok, err := e.store.SnapshotPage(t.Context(), "all", "s1", 0, 10, time.Minute)
		require.NoError(t, err)
		require.False(t, ok)
	})
}

func TestSnapshotIsKeptForThoseWhoPage(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		const kept, paging = 10 * time.Minute, time.Hour
		read := func(from, limit int) time.Duration {
			_, _, ok, err := e.store.SnapshotPage(t.Context(), "room", "s", from, limit, paging)
			require.NoError(t, err)
			require.True(t, ok)
			left, err := e.store.rdb.PTTL(t.Context(), hotSnapshotKey("room", "s")).Result()
			require.NoError(t, err)
			return left
		}
		e.save(t, snapshot("s", 3), time.Minute, kept)
		require.LessOrEqual(t, read(1, 2), kept, "who pages on got his time at the beginning")
		require.Greater(t, read(0, 2), kept)
		e.save(t, snapshot("s", 3), 0, kept)
		require.Greater(t, read(0, 3), kept, "others show a part of what they have read as a whole")
		e.save(t, snapshot("s", 3), time.Minute, 2*paging)
		require.Greater(t, read(0, 2), paging, "who pages does not take it from the others")
	})
}

func TestOneHasTheTurnToTakeASnapshot(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		require.Equal(t, domain.SnapshotTurn{}, e.turn(t, "room", ""), "who only looks has no turn")
		require.Equal(t, domain.SnapshotTurn{Mine: true}, e.turn(t, "room", "one"))
		require.Equal(t, domain.SnapshotTurn{}, e.turn(t, "room", "two"))
		require.Equal(t, domain.SnapshotTurn{Mine: true}, e.turn(t, "room", "one"), "prolonged")
		require.Equal(t, domain.SnapshotTurn{Mine: true}, e.turn(t, "all", "two"), "another type")

		require.NoError(t, e.store.NoSnapshot(t.Context(), "room", "two"))
		require.Equal(t, domain.SnapshotTurn{}, e.turn(t, "room", "two"), "it was not his to give back")
		require.NoError(t, e.store.NoSnapshot(t.Context(), "room", "one"))
		require.Equal(t, domain.SnapshotTurn{Mine: true}, e.turn(t, "room", "two"))

		current, err := e.store.SaveSnapshot(t.Context(), "room", "two", snapshot("s2", 3), 100*time.Millisecond, time.Minute)
		require.NoError(t, err)
		require.Equal(t, "s2", current)
		until(t, "s2 is no longer fresh", func() bool { return !e.turn(t, "room", "").Fresh })
		require.Equal(t, domain.SnapshotTurn{ID: "s2"}, e.turn(t, "room", ""), "the last one")
		require.Equal(t, domain.SnapshotTurn{ID: "s2", Mine: true}, e.turn(t, "room", "three"), "the turn has ended with the snapshot")

		current, err = e.store.SaveSnapshot(t.Context(), "room", "four", snapshot("s4", 3), time.Minute, time.Minute)
		require.NoError(t, err)
		require.Equal(t, "s4", current, "whose turn was over, but nobody was faster")
		current, err = e.store.SaveSnapshot(t.Context(), "room", "three", snapshot("s3", 3), time.Minute, time.Minute)
		require.NoError(t, err)
		require.Equal(t, "s4", current, "one at a time serves everybody")
		require.Equal(t, domain.SnapshotTurn{ID: "s4", Fresh: true}, e.turn(t, "room", "five"))
	})
}

// A turn that nobody prolongs ends, and so does the last snapshot.
func TestTurnsEndByThemselves(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	now := time.UnixMilli(1_700_000_000_000)
	e.mini.SetTime(now)
	e.save(t, snapshot("s1", 3), 2*time.Second, time.Hour)
	require.True(t, e.turn(t, "room", "").Fresh)
	e.mini.SetTime(now.Add(2 * time.Second))
	require.Equal(t, domain.SnapshotTurn{ID: "s1", Mine: true}, e.turn(t, "room", "one"))
	e.mini.SetTime(now.Add(time.Minute + 1999*time.Millisecond))
	require.Equal(t, domain.SnapshotTurn{ID: "s1"}, e.turn(t, "room", "two"))
	e.mini.SetTime(now.Add(time.Minute + 2*time.Second))
	require.Equal(t, domain.SnapshotTurn{ID: "s1", Mine: true}, e.turn(t, "room", "two"))
	e.mini.SetTime(now.Add(time.Hour))
	require.Empty(t, e.turn(t, "room", "").ID)
}
