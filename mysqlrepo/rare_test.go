package mysqlrepo

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// mentioning is a message that mentions users.
func mentioning(group string, seq, gen int64, users ...string) domain.Message {
	m := message(group, seq, gen)
	m.Mentions = users
	return m
}

// mentioned is the highest mention of a user in seqs from to to; 0 for none.
func mentioned(t *testing.T, db *DB, user, group string, from, to int64) int64 {
	t.Helper()
	found, err := db.Mentioned(t.Context(), user, []domain.Range{{Group: group, From: from, To: to}})
	require.NoError(t, err)
	return found[group]
}

func TestMentionsAreFoundUntilTheirMessageIsRecalledOrExpires(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		ctx, p := t.Context(), db.partitions.Of("a")
		gen := raise(t, db, p)
		batch := []domain.Message{
			mentioning("a", 1, gen, "ann", "bob"), message("a", 2, gen), mentioning("a", 3, gen, "*"),
			mentioning("a", 4, gen, "ann", "ann"), mentioning("A", 9, gen, "ann"), mentioning("a", 6, gen, "Ann"),
		}
		insert(t, db, batch...)
		for _, c := range []struct {
			user     string
			from, to int64
			want     int64
		}{
			{"ann", 1, 99, 4},
			{"ann", 4, 99, 4},
			{"ann", 5, 99, 0},
			{"ann", 1, 3, 3},
			{"ann", 1, 2, 1},
			{"bob", 1, 99, 3},
			{"cy", 1, 99, 3},
			{"Ann", 1, 99, 6},
			{"cy", 4, 99, 0},
		} {
			require.Equal(t, c.want, mentioned(t, db, c.user, "a", c.from, c.to), "%+v", c)
		}
		found, err := db.Mentioned(ctx, "ann", []domain.Range{{Group: "a", From: 1, To: 9}, {Group: "A", From: 1, To: 9}, {Group: "no", From: 1, To: 9}})
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"a": 4, "A": 9}, found)

		require.NoError(t, db.RecallMessages(ctx, []domain.Recall{{Group: "a", Seq: 4, TimeMS: 5, By: "ann"}}))
		require.Equal(t, int64(3), mentioned(t, db, "ann", "a", 1, 99))
		insert(t, db, batch...) // as after a crash
		require.Equal(t, int64(3), mentioned(t, db, "ann", "a", 1, 99), "repeated, it does not mention again")
		tomb := mentioning("a", 7, gen, "ann")
		tomb.RecalledMS, tomb.RecalledBy, tomb.Body = 6, "ann", nil
		insert(t, db, tomb)
		require.Equal(t, int64(3), mentioned(t, db, "ann", "a", 1, 99), "stored as a tombstone")
		recalls, _, err := db.RecalledSince(ctx, 0, map[string]int64{"a": 99}, 9)
		require.NoError(t, err)
		require.Len(t, recalls["a"], 2)

		deleted, err := db.Expire(ctx, domain.Expiry{Group: "a", UpTo: 4, Gen: gen}, 1<<50, 100)
		require.NoError(t, err)
		require.Equal(t, 4, deleted)
		require.Zero(t, mentioned(t, db, "ann", "a", 1, 99))
		require.Equal(t, int64(6), mentioned(t, db, "Ann", "a", 1, 99))
		recalls, _, err = db.RecalledSince(ctx, 0, map[string]int64{"a": 99}, 9)
		require.NoError(t, err)
		require.Len(t, recalls["a"], 1)
	})
}

// Whoever showed a tombstone may bring it behind the message itself.
func TestATombstoneEmptiesARowThatWasThereBefore(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("a"))
		sent := []domain.Message{message("a", 1, gen), mentioning("a", 2, gen, "ann")}
		insert(t, db, sent...)
		tombs := slices.Clone(sent)
		for i := range tombs {
			tombs[i].RecalledMS, tombs[i].RecalledBy, tombs[i].Body = 700, "bob", nil
		}
		for range 2 {
			insert(t, db, tombs...)
			require.Equal(t, []int64{1, 2}, recalledSeqs(t, db, "a"))
			require.Zero(t, mentioned(t, db, "ann", "a", 1, 9))
			require.Len(t, outbox(t, db, "a"), 2, "each is told once")
		}
	})
}

func TestMentionsOfManyGroupsAreAskedForTogether(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		var ranges []domain.Range
		want := make(map[string]int64)
		for n := range int64(2*mentionsAQuery + 1) {
			group := "g" + string(rune('a'+n%26)) + string(rune('a'+n/26))
			insert(t, db, mentioning(group, n+1, 1, "ann"))
			ranges = append(ranges, domain.Range{Group: group, From: 1, To: 1 << 50})
			want[group] = n + 1
		}
		found, err := db.Mentioned(t.Context(), "ann", ranges)
		require.NoError(t, err)
		require.Equal(t, want, found)
	})
}
