package redisrepo

import (
	"context"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// audit is what AuditGroups says of a group.
func (e *env) audit(t *testing.T, group string) *domain.AuditedCache {
	t.Helper()
	caches, err := e.store.AuditGroups(t.Context(), e.allGens(), []string{group, "quiet"})
	require.NoError(t, err)
	require.Len(t, caches, 2)
	require.False(t, caches["quiet"].Seeded)
	return caches[group]
}

func (e *env) allGens() []int64 {
	gens := make([]int64, testPartitions)
	for p := range gens {
		gens[p] = e.gens[p].Load()
	}
	return gens
}

func TestAuditGroupsReadsAll(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(group("g", domain.Private, "ann:owner", "bob:admin")), AppendConfig{})
		const messages = auditRecent + 20 // more than an answer has
		for n := range messages {
			s.must(t, domain.Draft{Group: "g", From: "ann", ClientID: fmt.Sprint("c", n)})
		}
		e.commit(t, "g", e.logged(t, "g")[:messages-2])
		_, err := e.store.MarkRead(t.Context(), "g", "bob", 7, 0, []byte("{}"))
		require.NoError(t, err)

		c := e.audit(t, "g")
		require.True(t, c.Seeded)
		require.Equal(t, int64(messages), c.Seq)
		require.Equal(t, int64(messages-2), c.Persisted)
		require.Equal(t, map[int64]bool{messages - 1: true, messages: true}, c.Pending)
		require.Len(t, c.Recent, messages)
		records, err := e.store.Recent(t.Context(), []domain.Range{{Group: "g", From: 5, To: 5, Limit: 1}})
		require.NoError(t, err)
		require.Equal(t, domain.TailDigest(records[0][0].Tail), c.Recent[5])
		require.Equal(t, map[string]int64{"ann": messages, "bob": 7}, c.Marks)
		require.Equal(t, map[string]int64{"bob": 7}, c.Dirty)
		require.Equal(t, int64(1), c.Version)
		require.Equal(t, map[string]domain.Membership{
			"ann": {User: "ann", Role: domain.Owner}, "bob": {User: "bob", Role: domain.Admin},
		}, c.Members)
		require.Nil(t, c.Floor)
		seqs, err := e.store.AuditSeqs(t.Context(), e.allGens(), []string{"g", "quiet"})
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"g": messages}, seqs)

		var seeded []string
		require.NoError(t, e.store.EachSeeded(t.Context(), e.log("g"), func(groups []string) error {
			seeded = append(seeded, groups...)
			return nil
		}))
		require.Equal(t, []string{"g"}, seeded)
	})
}

func TestAuditGroupsReadsFloorsAndHoles(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		holes := domain.Holes{{From: 1, To: 50, Reason: domain.HoleLost}}
		p := e.cfg.Partitions.Of("g")
		require.NoError(t, e.store.FillFloors(t.Context(), map[string]domain.Floor{"g": {MaxSeq: 60, LastMS: 5, Holes: holes}}))
		require.Equal(t, &domain.Floor{MaxSeq: 60, LastMS: 5, Holes: holes}, e.audit(t, "g").Floor)
		require.NoError(t, e.store.SetSeeds(t.Context(), p, 1, map[string]domain.Seed{"g": {Start: 50, Holes: holes}}))
		c := e.audit(t, "g")
		require.Nil(t, c.Floor, "seeded now")
		require.Equal(t, holes, c.Holes)
		require.Equal(t, int64(50), c.Seq)
		require.Equal(t, int64(50), c.Persisted)
		require.Nil(t, c.Members, "not cached")
	})
}

func TestAuditDoesNotBelieveTheCacheOfAnotherGeneration(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		require.NoError(t, e.store.FillGroup(t.Context(), group("g", domain.Private, "ann")))
		require.NotNil(t, e.audit(t, "g").Members)
		e.raise(t, 2)
		require.Nil(t, e.audit(t, "g").Members)
	})
}

func TestAuditHeatIsTheRanking(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(group("g", domain.Room)), AppendConfig{})
		first := s.must(t, domain.Draft{Group: "g", From: "ann"})
		s.must(t, domain.Draft{Group: "g", From: "bob"})
		last := s.must(t, domain.Draft{Group: "g", From: "bob"})
		h, err := e.store.AuditHeat(t.Context(), e.cfg.Partitions.Of("g"))
		require.NoError(t, err)
		require.False(t, h.Whole)
		require.Equal(t, map[string]int{"g": 2}, h.Heat)
		require.Equal(t, map[domain.GroupUser]int64{{Group: "g", User: "ann"}: first.TimeMS, {Group: "g", User: "bob"}: last.TimeMS}, h.Speakers)
		require.GreaterOrEqual(t, h.NowMS, last.TimeMS)
		require.NoError(t, e.store.rdb.HSet(t.Context(), genKey(e.cfg.Partitions.Of("g")), "heat", 1).Err())
		h, err = e.store.AuditHeat(t.Context(), e.cfg.Partitions.Of("g"))
		require.NoError(t, err)
		require.True(t, h.Whole)
		var logged []string
		require.NoError(t, e.store.EachLogged(t.Context(), e.log("g"), func(m *domain.Message) {
			logged = append(logged, fmt.Sprint(m.Seq, m.From, m.GroupType, len(m.Body)))
		}))
		require.Equal(t, []string{"1annroom0", "2bobroom0", "3bobroom0"}, logged)
	})
}

func TestSetAsideLogsAreFound(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(group("g", domain.Room)), AppendConfig{})
		s.must(t, domain.Draft{Group: "g", From: "ann"})
		s.must(t, domain.Draft{Group: "g", From: "ann"})
		logs, err := e.store.SetAsideLogs(t.Context())
		require.NoError(t, err)
		require.Empty(t, logs)
		require.NoError(t, e.store.SetAside(t.Context(), e.cfg.Partitions.Of("g"), 1))
		logs, err = e.store.SetAsideLogs(t.Context())
		require.NoError(t, err)
		require.Len(t, logs, 1)
		for _, n := range logs {
			require.Equal(t, int64(2), n)
		}
	})
}

func TestRemainsAreThoseOfAllGenerations(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		r := e.recovery(group("g", domain.Private, "ann", "bob"))
		s := e.sender(t, r, AppendConfig{})
		draft := domain.Draft{Group: "g", From: "ann", ClientID: "c", Mentions: []string{"bob"}, Body: text("é <b>")}
		s.must(t, draft)
		s.must(t, domain.Draft{Group: "g", From: "bob", ReplyTo: 1})
		holes := domain.Holes{{From: 3, To: 50, Reason: domain.HoleLost}}
		r.seeds["g"] = domain.Seed{Start: 50, Holes: holes}
		e.raise(t, 2)
		s.must(t, domain.Draft{Group: "g", From: "ann"})
		_, err := e.store.MarkRead(ctx, "g", "eve", 50, 0, []byte("{}"))
		require.NoError(t, err)

		remaining, err := e.store.Remaining(ctx)
		require.NoError(t, err)
		require.Equal(t, map[string][]int64{"g": {1, 2}}, remaining)
		remains, err := e.store.RemainsOf(ctx, "g", remaining["g"])
		require.NoError(t, err)
		require.Equal(t, int64(51), remains.Top)
		require.Equal(t, holes, remains.Holes)
		require.Equal(t, map[string]int64{"ann": 51, "bob": 2, "eve": 50}, remains.Marks)
		require.Len(t, remains.Messages, 3)
		first := remains.Messages[0]
		require.Equal(t, int64(1), first.Gen)
		require.Equal(t, domain.Private, first.GroupType)
		require.Equal(t, draft.Body, first.Body)
		require.Equal(t, draft.Mentions, first.Mentions)
		require.Equal(t, domain.ContentHash(draft.Body, draft.Mentions, 0), first.Hash)
		require.Equal(t, int64(1), remains.Messages[1].ReplyTo)
		require.Equal(t, int64(2), remains.Messages[2].Gen)
		require.Equal(t, int64(51), remains.Messages[2].Seq)

		logs, err := e.store.Logs(ctx)
		require.NoError(t, err)
		p := e.cfg.Partitions.Of("g")
		require.Equal(t, []domain.LogRange{{Partition: p, Gen: 1}, {Partition: p, Gen: 2}}, logs)
		for _, log := range logs {
			require.NoError(t, e.store.EachEntries(ctx, log, func(entries []domain.LogEntry) error {
				return e.store.Committed(ctx, []domain.LogBatch{{LogRange: log, Entries: entries}})
			}))
		}
		n, err := e.store.Backlog(ctx, logs)
		require.NoError(t, err)
		require.Zero(t, n)

		require.NoError(t, e.store.rdb.SAdd(ctx, mineKey(3, "ann"), "g").Err())
		require.NoError(t, e.store.ForgetGroups(ctx))
		for _, key := range []string{groupKey(p, "g"), mineKey(3, "ann")} {
			require.Zero(t, e.store.rdb.Exists(ctx, key).Val(), key)
		}
		require.Equal(t, int64(1), e.store.rdb.Exists(ctx, recentKey(p, 2, "g")).Val())
	})
}

func TestLongLogsAreReadInPieces(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		const entries = auditFields + 5
		log := domain.LogRange{Partition: 3, Gen: 1}
		pipe := e.store.rdb.Pipeline()
		for n := range entries {
			pipe.XAdd(context.Background(), &redis.XAddArgs{
				Stream: logKey(3, 1), Values: []any{"g", "g", "s", n + 1, "t", 5, "y", "room", "h", `"from":"ann"`, "b", "[]", "x", "ab"},
			})
		}
		_, err := pipe.Exec(t.Context())
		require.NoError(t, err)
		next := int64(1)
		require.NoError(t, e.store.EachLogged(t.Context(), log, func(m *domain.Message) {
			require.Equal(t, next, m.Seq)
			next++
		}))
		require.Equal(t, int64(entries+1), next)
	})
}

func TestLivingInstances(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		for _, instance := range []string{"a", "b"} {
			_, err := e.store.Announce(t.Context(), instance, nil)
			require.NoError(t, err)
		}
		require.NoError(t, e.store.rdb.Del(t.Context(), instanceKey("b")).Err())
		living, err := e.store.Living(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, living)
	})
}

// auditAll audits what useAll has done so far.
func auditAll(t *testing.T, e *env, groups []string, scores map[string]int) {
	t.Helper()
	caches, err := e.store.AuditGroups(t.Context(), e.allGens(), groups)
	require.NoError(t, err)
	remaining, err := e.store.Remaining(t.Context())
	require.NoError(t, err)
	require.Len(t, remaining, len(groups))
	for _, g := range groups {
		require.Equal(t, int64(3), caches[g].Seq, g)
		require.Len(t, caches[g].Recent, 2, g)
		require.NotEmpty(t, caches[g].Members, g)
		remains, err := e.store.RemainsOf(t.Context(), g, remaining[g])
		require.NoError(t, err)
		require.Len(t, remains.Messages, 2, g)
	}
	for p := range testPartitions {
		h, err := e.store.AuditHeat(t.Context(), p)
		require.NoError(t, err)
		for g, n := range h.Heat {
			require.Equal(t, scores[g], n)
		}
	}
	late, err := e.store.SetAsideLogs(t.Context())
	require.NoError(t, err)
	require.Empty(t, late)
	logs, err := e.store.Logs(t.Context())
	require.NoError(t, err)
	require.Len(t, logs, testPartitions)
}
