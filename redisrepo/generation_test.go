package redisrepo

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestGenerationIsSetOnlyIfHigher(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		o, err := e.store.Observe(ctx, 3)
		require.NoError(t, err)
		require.Equal(t, domain.Observed{Gen: 1, Server: o.Identity, Identity: o.Identity}, o)
		require.Len(t, o.Identity, 40)
		for _, step := range []struct {
			gen int64
			set bool
			now int64
		}{{1, true, 1}, {5, true, 5}, {4, false, 5}, {5, true, 5}, {10, true, 10}, {9, false, 10}} {
			set, err := e.store.SetGeneration(ctx, 3, step.gen, o.Identity)
			require.NoError(t, err)
			require.Equal(t, step.set, set, "set %d", step.gen)
			got, err := e.store.Observe(ctx, 3)
			require.NoError(t, err)
			require.Equal(t, step.now, got.Gen, "after %d", step.gen)
		}
		older, err := e.store.OlderGenerations(ctx, 3, 10)
		require.NoError(t, err)
		require.Equal(t, []int64{1, 5}, older)
		older, err = e.store.OlderGenerations(ctx, 3, 5)
		require.NoError(t, err)
		require.Equal(t, []int64{1}, older)
		older, err = e.store.OlderGenerations(ctx, 4, 10)
		require.NoError(t, err)
		require.Empty(t, older, "another partition")
	})
}

func TestGenerationRaisedOnAnotherServerIsNotSet(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		set, err := e.store.SetGeneration(t.Context(), 3, 7, strings.Repeat("a", 40))
		require.NoError(t, err)
		require.False(t, set)
		o, err := e.store.Observe(t.Context(), 3)
		require.NoError(t, err)
		require.Equal(t, int64(1), o.Gen)
	})
}

func TestEmptyServerHasNoGeneration(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		require.NoError(t, e.store.rdb.FlushAll(t.Context()).Err())
		o, err := e.store.Observe(t.Context(), 3)
		require.NoError(t, err)
		require.Equal(t, domain.Observed{Identity: o.Identity}, o)
		older, err := e.store.OlderGenerations(t.Context(), 3, 1)
		require.NoError(t, err)
		require.Empty(t, older)
		e.raiseRedis(t, 3, 1)
		older, err = e.store.OlderGenerations(t.Context(), 3, 1)
		require.NoError(t, err)
		require.Empty(t, older)
	})
}

// A server that holds another's data, as a promoted replica does, is not the one the generation was raised on.
func TestGenerationOfAnotherServerIsStale(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		p := e.cfg.Partitions.Of("a")
		require.NoError(t, e.store.rdb.HSet(t.Context(), genKey(p), "server", strings.Repeat("b", 40)).Err())
		_, err := e.store.Heads(t.Context(), "", []string{"a"})
		require.ErrorContains(t, err, "generation 1 is over", "reads do not believe it either")
		r := e.recovery(group("a", domain.Room))
		s := e.sender(t, r, AppendConfig{})
		require.Equal(t, int64(2), s.must(t, domain.Draft{Group: "a", From: "u"}).Gen)
		require.Equal(t, "renew 1", r.made()[0])
	})
}

func TestGenerationIsForgottenWhenItsLogAndMarksAreDrained(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		r := e.recovery(group("a", domain.Room))
		r.seeds["a"] = domain.Seed{Start: 10, Holes: domain.Holes{{From: 1, To: 10, Reason: domain.HoleExpired}}}
		s := e.sender(t, r, AppendConfig{})
		s.must(t, domain.Draft{Group: "a", From: "u"})
		_, err := e.store.MarkRead(ctx, "a", "v", 11, 0, nil)
		require.NoError(t, err)
		p, old := e.cfg.Partitions.Of("a"), e.log("a")
		entries := e.logged(t, "a")
		e.raise(t, 2)
		e.raise(t, 3)

		require.Error(t, e.store.ForgetGeneration(ctx, p, 1), "its log is not empty")
		require.NoError(t, e.store.Committed(ctx, []domain.LogBatch{{LogRange: old, Entries: entries}}))
		require.Error(t, e.store.ForgetGeneration(ctx, p, 1), "a read mark is left")
		marks, err := e.store.DirtyMarks(ctx, old)
		require.NoError(t, err)
		require.NoError(t, e.store.MarksWritten(ctx, old, marks))
		require.NoError(t, e.store.ForgetGeneration(ctx, p, 1))

		older, err := e.store.OlderGenerations(ctx, p, 3)
		require.NoError(t, err)
		require.Equal(t, []int64{2}, older)
		left, err := e.store.rdb.Exists(ctx, logKey(p, 1), seqKey(p, 1), persistedKey(p, 1), holesKey(p, 1), dirtyKey(p, 1)).Result()
		require.NoError(t, err)
		require.Zero(t, left)
		require.NoError(t, e.store.ForgetGeneration(ctx, p, 1), "again")
		require.NoError(t, e.store.ForgetGeneration(ctx, p, 2))
		o, err := e.store.Observe(ctx, p)
		require.NoError(t, err)
		require.Equal(t, int64(3), o.Gen)
	})
}

func TestAllPartitionsAreObserved(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.raiseRedis(t, 3, 7)
		all, err := e.store.ObserveAll(t.Context())
		require.NoError(t, err)
		require.Len(t, all, testPartitions)
		for p, o := range all {
			want := domain.Observed{Gen: 1, Server: o.Identity, Identity: o.Identity}
			if p == 3 {
				want.Gen = 7
			}
			require.Equal(t, want, o, p)
		}
		require.NoError(t, e.store.rdb.HSet(t.Context(), genKey(2), "gen", "x").Err())
		_, err = e.store.ObserveAll(t.Context())
		require.Error(t, err)
	})
}

func TestLogIsSetAside(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
		s.must(t, domain.Draft{Group: "a", From: "u"})
		p := e.cfg.Partitions.Of("a")
		e.raise(t, 2)
		kept := func() (entries int64) {
			keys, err := e.store.rdb.Keys(ctx, genPart(p, "late", 1)+":*").Result()
			require.NoError(t, err)
			for _, key := range keys {
				entries += e.store.rdb.XLen(ctx, key).Val()
			}
			return entries
		}
		require.NoError(t, e.store.SetAside(ctx, p, 1))
		require.Equal(t, int64(1), kept())
		require.NoError(t, e.store.SetAside(ctx, p, 1), "again: there is nothing to take")
		require.NoError(t, e.store.ForgetGeneration(ctx, p, 1))
		require.Equal(t, int64(1), kept())
	})
}

func TestSeedsDoNotReplaceSeqs(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		groups := groupsIn(5, 3)
		first := domain.Seed{Start: 7, LastMS: 70, Holes: domain.Holes{{From: 2, To: 3, Reason: domain.HoleLost}, {From: 5, To: 7, Reason: domain.HoleExpired}}}
		other := domain.Seed{Start: 1 << 52, LastMS: 1_700_000_000_000}
		require.NoError(t, e.store.SetSeeds(ctx, 5, 1, map[string]domain.Seed{groups[0]: first, groups[1]: {}}))
		require.NoError(t, e.store.SetSeeds(ctx, 5, 1, map[string]domain.Seed{groups[0]: other, groups[2]: other}))
		for g, want := range map[string]domain.Seed{groups[0]: first, groups[1]: {}, groups[2]: other} {
			head := domain.Head{Group: g, MaxSeq: want.Start, LastMS: want.LastMS, PersistedSeq: want.Start, Holes: want.Holes}
			require.Equal(t, domain.CachedHead{Head: head, Seeded: true}, e.head(t, "u", g))
		}
	})
}

func TestSeedsOfAnotherGenerationAreRefused(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.raiseRedis(t, 5, 2)
		g := groupsIn(5, 1)[0]
		for _, gen := range []int64{1, 3} {
			require.Error(t, e.store.SetSeeds(t.Context(), 5, gen, map[string]domain.Seed{g: {Start: 1}}))
		}
		e.gens[5].Store(2)
		require.False(t, e.head(t, "u", g).Seeded)
	})
}
