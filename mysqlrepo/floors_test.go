package mysqlrepo

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func raiseFloor(t *testing.T, db *DB, gen int64, r domain.Remains, dry bool) domain.RaisedFloor {
	t.Helper()
	raised, err := db.RaiseFloor(t.Context(), gen, r, dry)
	require.NoError(t, err)
	return raised
}

func holesIn(t *testing.T, db *DB, group string) domain.Holes {
	t.Helper()
	holes, err := db.Holes(t.Context(), group)
	require.NoError(t, err)
	return holes
}

func TestRaiseGenerationIsAboveWhatAnybodyKnows(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		for range 3 {
			raise(t, db, 1)
		}
		raiseGen := func(p int, redis int64, dry bool) domain.Generation {
			_, after, err := db.RaiseGeneration(t.Context(), p, redis, dry)
			require.NoError(t, err)
			return after
		}
		want := domain.Generation{Gen: 8, Settled: 8}
		require.Equal(t, want, raiseGen(1, 7, true))
		require.Equal(t, want, raiseGen(1, 7, false), "a dry run has changed nothing")
		require.Equal(t, want, raiseGen(1, 7, false), "nobody has started since")
		require.Equal(t, int64(10), raiseGen(1, 9, false).Gen, "a Redis that knows more came back")
		require.Equal(t, int64(1), raiseGen(2, 0, false).Gen, "never used")

		gen := raise(t, db, 1)
		require.Equal(t, int64(11), gen, "the first start")
		require.Equal(t, gen+1+lostGens, raiseGen(1, 0, false).Gen, "Redis has forgotten how many there were")
	})
}

func TestWhatIsOlderThanTheRepairIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		old := raise(t, db, db.partitions.Of("g"))
		_, _, err := db.RaiseGeneration(t.Context(), db.partitions.Of("g"), old, false)
		require.NoError(t, err)
		require.ErrorIs(t, tryInsert(db, message("g", 1, old)), ErrFenced)
	})
}

func TestRaiseFloorBringsBackWhatRemains(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		p := db.partitions.Of("g")
		old := raise(t, db, p)
		create(t, db, "g")
		seedOne(t, db, old, "g")
		insert(t, db, messages("g", 1, 5, old)...)
		execSQL(t, db, "DELETE FROM group_msg WHERE msg_seq=2")
		execSQL(t, db, "INSERT INTO seq_hole (group_id, from_seq, to_seq, reason) VALUES ('g', 2, 2, 'expired')")
		other := message("g", 4, old)
		other.Body, other.Hash = []byte(`[]`), domain.ContentHash([]byte(`[]`), nil, 0)
		remains := domain.Remains{
			Group: "g", Top: 12, Holes: domain.Holes{{From: 9, To: 9, Reason: domain.HoleLost}}, Marks: map[string]int64{"reader": 11, "ahead": 99},
			Messages: append([]domain.Message{message("g", 2, old), message("g", 3, old), other}, messages("g", 7, 10, old)...),
		}
		_, after, err := db.RaiseGeneration(t.Context(), p, old, false)
		require.NoError(t, err)

		want := domain.RaisedFloor{Group: "g", Top: 5, Floor: 62, Back: 3, NotBack: 2}
		require.Equal(t, want, raiseFloor(t, db, after.Gen, remains, true))
		require.Equal(t, "1 3 4 5", seqs(stored(t, db, "g")), "a dry run")
		require.Equal(t, want, raiseFloor(t, db, after.Gen, remains, false))
		for range 2 {
			require.Equal(t, "1 3 4 5 7 8 10", seqs(stored(t, db, "g")), "2 has expired, 9 was given up")
			require.Equal(t, domain.Holes{
				{From: 2, To: 2, Reason: domain.HoleExpired},
				{From: 6, To: 6, Reason: domain.HoleLost},
				{From: 9, To: 9, Reason: domain.HoleLost},
				{From: 11, To: 62, Reason: domain.HoleLost},
			}, holesIn(t, db, "g"))
			again := raiseFloor(t, db, after.Gen, remains, false)
			require.Equal(t, domain.RaisedFloor{Group: "g", Top: 62, Floor: 62, NotBack: 2}, again, "again: nothing")
		}
		marks, err := db.ReadMarks(t.Context(), []domain.GroupUser{{Group: "g", User: "reader"}, {Group: "g", User: "ahead"}, {Group: "g", User: "u1"}})
		require.NoError(t, err)
		require.Equal(t, map[domain.GroupUser]int64{{Group: "g", User: "reader"}: 11, {Group: "g", User: "ahead"}: 12, {Group: "g", User: "u1"}: 10}, marks)

		require.Equal(t, int64(62+50), seedOne(t, db, raise(t, db, p), "g").Start, "the first start")
	})
}

func TestRaiseFloorGoesHigherWhenMoreIsKnown(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		create(t, db, "g")
		require.Equal(t, int64(50), raiseFloor(t, db, 7, domain.Remains{Group: "g"}, false).Floor, "who knows whether something was sent")
		require.Equal(t, int64(70), raiseFloor(t, db, 7, domain.Remains{Group: "g", Top: 20}, false).Floor)
		require.Equal(t, int64(70), raiseFloor(t, db, 7, domain.Remains{Group: "g", Top: 10}, false).Floor)
		require.Equal(t, domain.Holes{{From: 1, To: 70, Reason: domain.HoleLost}}, holesIn(t, db, "g"))
		require.Equal(t, int64(70), raiseFloor(t, db, 7, domain.Remains{Group: "g", Top: 10, LostGens: 2}, false).Floor, "they were counted")
		create(t, db, "h")
		require.Equal(t, int64(160), raiseFloor(t, db, 7, domain.Remains{Group: "h", Top: 10, LostGens: 2}, false).Floor)
	})
}

func TestAGroupThatIsMadeAgainStartsAboveTheLostOne(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		p := db.partitions.Of("g")
		gen := raise(t, db, p)
		_, after, err := db.RaiseGeneration(t.Context(), p, gen, false)
		require.NoError(t, err)
		raiseFloor(t, db, after.Gen, domain.Remains{Group: "g", Top: 20}, false)
		gen = raise(t, db, p)
		create(t, db, "g")
		require.Equal(t, int64(120), seedOne(t, db, gen, "g").Start)
		young := sameLane(db, p, "g")
		create(t, db, young)
		require.Zero(t, seedOne(t, db, gen, young).Start, "of another one Redis would have known")

		_, _, err = db.RaiseGeneration(t.Context(), p, 0, false)
		require.NoError(t, err)
		gen = raise(t, db, p)
		younger := sameLane(db, p, "g", young)
		create(t, db, younger)
		seed := seedOne(t, db, gen, younger)
		require.Equal(t, int64(50), seed.Start, "nobody knows")
		require.Equal(t, domain.Holes{{From: 1, To: 50, Reason: domain.HoleLost}}, seed.Holes)
	})
}

// remainsOf is a Redis in generation 5 that knows of no group any more; its first answers fail.
type remainsOf struct {
	domain.RemainsCache
	failures int
}

func (r *remainsOf) Living(context.Context) ([]string, error)        { return nil, nil }
func (r *remainsOf) Logs(context.Context) ([]domain.LogRange, error) { return nil, nil }
func (r *remainsOf) ForgetGroups(context.Context) error              { return nil }

func (r *remainsOf) ObserveAll(context.Context) ([]domain.Observed, error) {
	return slices.Repeat([]domain.Observed{{Gen: 5}}, int(testConfig.Partitions)), nil
}

func (r *remainsOf) Remaining(context.Context) (map[string][]int64, error) {
	if r.failures--; r.failures >= 0 {
		return nil, errors.New("cut off")
	}
	return nil, nil
}

// In each generation that the backup lacks a group may have begun a jump higher; how many they were is only seen the first time.
func TestARepairThatWasBrokenOffGoesAsHigh(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		p := db.partitions.Of("g")
		gen := raise(t, db, p)
		create(t, db, "g")
		seedOne(t, db, gen, "g")
		insert(t, db, messages("g", 1, 5, gen)...)
		cache := &remainsOf{failures: 1}
		var raised []domain.RaisedFloor
		repair := func() error {
			f := &domain.FloorRepair{
				Store: db, Cache: cache, Partitions: db.partitions, Force: true,
				Raised: func(r domain.RaisedFloor) { raised = append(raised, r) }, Generation: func(int, domain.Generation, domain.Generation) {},
			}
			return f.Run(t.Context())
		}
		require.ErrorContains(t, repair(), "cut off")
		require.NoError(t, repair())
		require.Len(t, raised, 1)
		given := 5 + 50*(5-gen) + 7 // the last generation's
		require.Greater(t, seedOne(t, db, raise(t, db, p), "g").Start, given)
		require.NoError(t, repair())
		raised = nil
		require.NoError(t, repair())
		require.Empty(t, raised, "again: nothing")
	})
}

// sameLane is another group of a partition.
func sameLane(db *DB, p int, not ...string) string {
	for n := 'a'; ; n++ {
		g := "young-" + string(n)
		taken := false
		for _, other := range not {
			taken = taken || other == g
		}
		if db.partitions.Of(g) == p && !taken {
			return g
		}
	}
}

func TestWriteBackCountsWhatCannotBeStored(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("g"))
		insert(t, db, message("g", 1, gen))
		execSQL(t, db, "INSERT INTO seq_hole (group_id, from_seq, to_seq, reason) VALUES ('g', 3, 3, 'lost')")
		taken := message("g", 1, gen)
		taken.Hash = domain.ContentHash(nil, nil, 1)
		raise(t, db, db.partitions.Of("g"))
		left, err := db.WriteBack(t.Context(), []domain.Message{message("g", 1, gen), message("g", 2, gen), message("g", 3, gen), message("h", 1, gen)})
		require.NoError(t, err)
		require.Equal(t, 1, left, "the hole")
		require.Equal(t, "1 2", seqs(stored(t, db, "g")))
		require.Equal(t, "1", seqs(stored(t, db, "h")))
		left, err = db.WriteBack(t.Context(), []domain.Message{taken})
		require.NoError(t, err)
		require.Equal(t, 1, left, "the seq has another message")
	})
}

func TestLivingGoesByTheHeartbeat(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		for _, instance := range []string{"a", "b"} {
			_, err := db.Heartbeat(t.Context(), instance)
			require.NoError(t, err)
		}
		age(t, db, "b", liveMS+1000)
		living, err := db.Living(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, living)
	})
}
