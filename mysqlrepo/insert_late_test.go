package mysqlrepo

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// An instance that was not waited for brings its messages when the next generation has given up their seqs.
func TestMessagesThatAreFencedOffComeLate(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		p := db.partitions.Of("g")
		old := raise(t, db, p)
		create(t, db, "g", "u0", "u1", "u2")
		insert(t, db, messages("g", 1, 3, old)...)
		_, err := db.Renew(ctx, p, observed("another"))
		require.NoError(t, err)
		require.NoError(t, db.Settle(ctx, p, old+1))
		seeds, err := db.Seed(ctx, p, old+1, []string{"g"})
		require.NoError(t, err)
		require.Equal(t, domain.Holes{{From: 4, To: 3 + testConfig.SeqJump, Reason: domain.HoleLost}}, seeds["g"].Holes)

		late := messages("g", 3, 6, old)
		require.ErrorIs(t, tryInsert(db, late...), ErrFenced)
		filled, err := db.InsertLate(ctx, late)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"g": 4}, filled)
		require.Equal(t, "1 2 3 4 5 6", seqs(stored(t, db, "g")))
		holes, err := db.Holes(ctx, "g")
		require.NoError(t, err)
		require.Equal(t, domain.Holes{{From: 7, To: 3 + testConfig.SeqJump, Reason: domain.HoleLost}}, holes)

		filled, err = db.InsertLate(ctx, late)
		require.NoError(t, err)
		require.Empty(t, filled, "what is there is not told again")
		other := message("g", 5, old)
		other.Hash = domain.ContentHash([]byte("[]"), nil, 0)
		_, err = db.InsertLate(ctx, append(slices.Clone(late), message("g", 7, old), other))
		require.ErrorIs(t, err, ErrSeqTaken)
		require.Equal(t, "1 2 3 4 5 6", seqs(stored(t, db, "g")), "all or nothing")
	})
}
