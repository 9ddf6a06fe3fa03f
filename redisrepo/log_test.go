package redisrepo

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// sent fills a partition's log with n messages, turn by turn in each group.
func (e *env) sent(t *testing.T, n int, groups ...string) []domain.LogEntry {
	t.Helper()
	r := e.recovery()
	for _, g := range groups {
		r.groups[g] = group(g, domain.Room)
	}
	s := e.sender(t, r, AppendConfig{})
	var answers []<-chan result
	for i := range n {
		answers = append(answers, s.post(domain.Draft{Group: groups[i%len(groups)], From: "u"}))
	}
	seqs(t, answers)
	return e.logged(t, groups[0])
}

// written is sent by hand: miniredis takes seconds for thousands of appends.
func (e *env) written(t *testing.T, n int, group string) []domain.LogEntry {
	t.Helper()
	p := e.cfg.Partitions.Of(group)
	pipe := e.store.rdb.Pipeline()
	for seq := 1; seq <= n; seq++ {
		pipe.Do(t.Context(), "XADD", logKey(p, 1), "*", "g", group, "s", seq, "t", seq, "y", "room", "h", `"from":"u"`, "b", "[]", "x", "00")
		pipe.Do(t.Context(), "XADD", recentKey(p, 1, group), fmt.Sprint(seq, "-0"), "m", fmt.Sprintf(`"time_ms":%d,"from":"u","body":[]}`, seq))
	}
	pipe.HSet(t.Context(), seqKey(p, 1), group, fmt.Sprint(n, " ", n))
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	return e.logged(t, group)
}

func ids(entries []domain.LogEntry) (ids []string) {
	for _, e := range entries {
		ids = append(ids, fmt.Sprint(e.ID, " ", e.Group, " ", e.Seq))
	}
	return ids
}

func TestLogIsReadFromItsStart(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		groups := append(groupsIn(3, 2), groupsIn(4, 1)...)
		all := e.sent(t, 30, groups...)
		require.Len(t, all, 20)
		logs := []domain.LogRange{{Partition: 4, Gen: 1}, {Partition: 5, Gen: 1}, {Partition: 3, Gen: 2}, {Partition: 3, Gen: 1}}
		got, err := e.store.ReadLogs(t.Context(), logs, 15)
		require.NoError(t, err)
		require.Equal(t, []int{10, 0, 0, 15}, []int{len(got[0]), len(got[1]), len(got[2]), len(got[3])})
		require.Equal(t, all[:15], got[3])
		backlog, err := e.store.Backlog(t.Context(), logs)
		require.NoError(t, err)
		require.Equal(t, int64(30), backlog)
		backlog, err = e.store.Backlog(t.Context(), nil)
		require.NoError(t, err)
		require.Zero(t, backlog)
		oldest, err := e.store.OldestLogged(t.Context(), logs)
		require.NoError(t, err)
		first := int64(math.MaxInt64)
		for _, list := range got {
			for _, entry := range list {
				came, err := streamTime(entry.ID)
				require.NoError(t, err)
				first = min(first, came)
			}
		}
		require.Equal(t, first, oldest)
		oldest, err = e.store.OldestLogged(t.Context(), logs[1:3])
		require.NoError(t, err)
		require.Zero(t, oldest, "nothing waits there")
	})
}

func TestCommittedEntriesAreRemovedAndTold(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		groups := groupsIn(3, 2)
		all := e.sent(t, 20, groups...)
		heard := e.subscribe(t, e.store, groups...) // confirmed, and the watermarks with it
		e.commit(t, groups[0], all[:7])
		require.Equal(t, ids(all[7:]), ids(e.logged(t, groups[0])))
		marks := make(map[string]int64)
		for _, entry := range all[:7] {
			marks[entry.Group] = entry.Seq
		}
		var told []string
		for g, mark := range marks {
			require.Equal(t, mark, e.head(t, "u", g).PersistedSeq)
			told = append(told, fmt.Sprint(g, " 1 ", mark))
		}
		until(t, "watermarks", func() bool { return len(heard.marks()) == len(told) })
		require.ElementsMatch(t, told, heard.marks())

		e.commit(t, groups[0], all[7:])
		require.Empty(t, e.logged(t, groups[0]))
		e.commit(t, groups[0], all[:7]) // a batch that comes twice: the watermark does not fall
		require.Equal(t, int64(10), e.head(t, "u", groups[0]).PersistedSeq)
		require.Equal(t, int64(10), e.head(t, "u", groups[1]).PersistedSeq)
	})
}

func TestOnlyTheCommittedEntriesAreRemoved(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		all := e.sent(t, 12, groupsIn(3, 2)...)
		some := []domain.LogEntry{all[1], all[4], all[5]}
		e.commit(t, all[0].Group, some)
		left := append(append([]domain.LogEntry{all[0]}, all[2:4]...), all[6:]...)
		require.Equal(t, ids(left), ids(e.logged(t, all[0].Group)))
	})
}

func TestManyEntriesInOneCommit(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		all := e.written(t, 2500, "a")
		for i := range all { // of many groups, too
			all[i].Group = fmt.Sprint("g", i%700)
		}
		e.commit(t, "a", all)
		require.Empty(t, e.logged(t, "a"))
	})
}

// recent keeps its last 1,000 messages and everything that MySQL has not got.
func TestRecentIsTrimmedBelowTheWatermarkOnly(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		const sent = 3 * keepRecent
		g := "a"
		all := e.written(t, sent, g)
		key := recentKey(e.cfg.Partitions.Of(g), 1, g)
		first := func() int64 {
			got, err := e.store.Recent(t.Context(), []domain.Range{{Group: g, From: 1, To: sent, Limit: sent}})
			require.NoError(t, err)
			require.Equal(t, int64(sent), got[0][len(got[0])-1].Seq)
			require.Len(t, got[0], int(sent-got[0][0].Seq+1), "without gaps")
			return got[0][0].Seq
		}
		require.Equal(t, int64(1), first())
		require.Equal(t, time.Duration(-1), e.store.rdb.PTTL(t.Context(), key).Val(), "no TTL while nothing of it is committed")

		const mark = 500
		e.commit(t, g, all[:mark])
		require.Greater(t, first(), int64(1))
		require.LessOrEqual(t, first(), int64(mark+1), "nothing above the watermark")
		ttl := e.store.rdb.PTTL(t.Context(), key).Val()
		require.Greater(t, ttl, idleTTL-time.Minute)

		e.commit(t, g, all[mark:])
		require.LessOrEqual(t, first(), int64(sent-keepRecent+1), "the last 1,000 stay")
		require.Greater(t, first(), int64(sent-keepRecent-200), "Redis trims whole nodes of 100")
	})
}

// A quiet group's messages must not expire under a message that has just come.
func TestIdleTTLIsRenewedBeforeItIsOver(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		all := e.sent(t, 3, "a")
		e.commit(t, "a", all[:1])
		p := e.cfg.Partitions.Of("a")
		key := recentKey(p, 1, "a")
		require.NoError(t, e.store.rdb.PExpire(t.Context(), key, time.Minute).Err())
		require.NoError(t, e.store.rdb.PExpire(t.Context(), readKey(p, 1, "a"), time.Minute).Err())
		e.commit(t, "a", all[1:2])
		for _, k := range []string{key, readKey(p, 1, "a")} {
			require.Greater(t, e.store.rdb.PTTL(t.Context(), k).Val(), idleTTL-time.Minute, k)
		}
	})
}

func TestOlderGenerationIsDrainedWithoutTelling(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		all := e.sent(t, 3, "a")
		old := e.log("a")
		heard := e.subscribe(t, e.store, "a")
		e.raise(t, 2)
		require.NoError(t, e.store.Committed(t.Context(), []domain.LogBatch{{LogRange: old, Entries: all}}))
		left, err := e.store.ReadLogs(t.Context(), []domain.LogRange{old}, 10)
		require.NoError(t, err)
		require.Empty(t, left[0])
		now := e.sent(t, 2, "a")
		e.commit(t, "a", now)
		until(t, "a watermark", func() bool { return len(heard.marks()) > 0 })
		require.Equal(t, []string{"a 2 2"}, heard.marks(), "the older one's is of use to nobody")
		require.Equal(t, int64(2), e.head(t, "u", "a").PersistedSeq)
	})
}

func TestBrokenLogEntriesAreErrors(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		good := map[string]string{"g": "a", "s": "1", "t": "2", "y": "room", "h": `"from":"u"`, "b": "[]", "x": "00"}
		for name, value := range map[string]string{"s": "x", "t": "", "h": `"from"`} {
			key := logKey(3, 1)
			require.NoError(t, e.store.rdb.Del(t.Context(), key).Err())
			values := []string{}
			for k, v := range good {
				if k == name {
					v = value
				}
				values = append(values, k, v)
			}
			args := []any{"XADD", key, "*"}
			for _, v := range values {
				args = append(args, v)
			}
			require.NoError(t, e.store.rdb.Do(t.Context(), args...).Err())
			_, err := e.store.ReadLogs(t.Context(), []domain.LogRange{{Partition: 3, Gen: 1}}, 10)
			require.Error(t, err, name)
		}
		require.NoError(t, e.store.rdb.Do(t.Context(), "XADD", recentKey(e.cfg.Partitions.Of("a"), 1, "a"), "1-0", "m", "broken").Err())
		_, err := e.store.Recent(t.Context(), []domain.Range{{Group: "a", To: 5, Limit: 5}})
		require.Error(t, err)
	})
}

func TestLeaseHasOneHolder(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		lease := func(p int, instance string, ttl time.Duration) bool {
			ok, err := e.store.Lease(t.Context(), p, instance, ttl)
			require.NoError(t, err)
			return ok
		}
		require.True(t, lease(3, "i1", time.Minute))
		require.False(t, lease(3, "i2", time.Minute))
		require.True(t, lease(4, "i2", time.Minute), "another partition")
		require.True(t, lease(3, "i1", time.Hour), "prolonged")
		require.Greater(t, e.store.rdb.PTTL(t.Context(), leaseKey(3)).Val(), time.Minute)

		require.NoError(t, e.store.Unlease(t.Context(), 3, "i2"))
		require.False(t, lease(3, "i2", time.Minute), "given back by another: not at all")
		require.NoError(t, e.store.Unlease(t.Context(), 3, "i1"))
		require.True(t, lease(3, "i2", 50*time.Millisecond))
		until(t, "the lease of one who died", func() bool { return lease(3, "i1", time.Minute) })
		require.NoError(t, e.store.Unlease(t.Context(), 5, "i1"), "one that nobody has")
	})
}

// A full Redis gets room by nobody but the holder of a lease.
func TestLeasesAreHeldInAFullRedis(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	lease := func(p int, instance string) bool {
		ok, err := e.store.Lease(t.Context(), p, instance, time.Minute)
		require.NoError(t, err)
		return ok
	}
	require.True(t, lease(1, "i1"))
	require.NoError(t, e.store.rdb.PExpire(t.Context(), leaseKey(1), time.Second).Err())
	e.configSet(t, "maxmemory", "1")
	require.True(t, lease(1, "i1"))
	require.Greater(t, e.store.rdb.PTTL(t.Context(), leaseKey(1)).Val(), 30*time.Second, "prolonged")
	require.False(t, lease(1, "i2"))
	require.True(t, lease(2, "i1"), "rather two writers than none")
	require.True(t, lease(2, "i2"))
	e.configSet(t, "maxmemory", "0")
	require.True(t, lease(2, "i1"))
	require.False(t, lease(2, "i2"))
}

// What MySQL refused leaves nothing behind that says it is there, and who waits for it is told before the watermark.
func TestRefusedEntriesAreForgottenAndTold(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
		draft := func(id string) domain.Draft { return domain.Draft{Group: "a", From: "u", ClientID: id} }
		seqs(t, []<-chan result{s.post(draft("c1")), s.post(draft("c2")), s.post(draft("")), s.post(draft("c4"))})
		heard := e.subscribe(t, e.store, "a")
		all := e.logged(t, "a")
		batch := domain.LogBatch{LogRange: e.log("a"), Entries: all[:3], Dead: []domain.LogEntry{all[1], all[2]}}
		for range 2 { // it may be done again
			require.NoError(t, e.store.Committed(t.Context(), []domain.LogBatch{batch}))
		}
		require.Equal(t, ids(all[3:]), ids(e.logged(t, "a")))
		require.Equal(t, int64(3), e.head(t, "u", "a").PersistedSeq)
		until(t, "the words", func() bool { return len(heard.marks()) >= 3 })
		require.Equal(t, []string{"not a 1 2", "not a 1 3", "a 1 3"}, heard.marks()[:3])
		got, err := e.store.Recent(t.Context(), []domain.Range{{Group: "a", From: 1, To: 9, Limit: 9}})
		require.NoError(t, err)
		var left []int64
		for _, r := range got[0] {
			left = append(left, r.Seq)
		}
		require.Equal(t, []int64{1, 4}, left)
		repeated := []result{await(t, s.post(draft("c1"))), await(t, s.post(draft("c2")))}
		require.True(t, repeated[0].Duplicate, "what is stored is known")
		require.False(t, repeated[1].Duplicate, "what was refused may be sent again")
		require.Equal(t, int64(5), repeated[1].Seq)
		require.NoError(t, e.store.Committed(t.Context(), []domain.LogBatch{batch})) // its reply got lost before
		require.True(t, await(t, s.post(draft("c2"))).Duplicate, "the second send is remembered")
	})
}
