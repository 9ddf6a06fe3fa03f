package redisrepo

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// mentions is what the store knows of a user's mentions in a group.
func (e *env) mentions(t *testing.T, user, group string) domain.FreshMentions {
	t.Helper()
	fresh, err := e.store.Mentions(t.Context(), user, []string{group})
	require.NoError(t, err)
	return fresh[0]
}

func TestMentionsAreKnownUntilMySQLHasThem(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(group("g", domain.Room), group("other", domain.Room)), AppendConfig{})
		for _, users := range [][]string{{"ann", "bob"}, nil, {"*"}, {"ann"}} {
			s.must(t, domain.Draft{Group: "g", From: "u", Mentions: users, Body: []byte(`[{"type":"text","text":",\"mentions\":[\"cy\"]"}]`)})
		}
		s.must(t, domain.Draft{Group: "other", From: "u", Mentions: []string{"ann"}})
		require.Equal(t, []int64{4, 3, 1}, e.mentions(t, "ann", "g").Seqs)
		require.Equal(t, []int64{3, 1}, e.mentions(t, "bob", "g").Seqs)
		require.Equal(t, []int64{3}, e.mentions(t, "cy", "g").Seqs)
		require.Equal(t, []int64{1}, e.mentions(t, "ann", "other").Seqs)
		require.Zero(t, e.mentions(t, "ann", "g").Persisted)

		_, code := e.recall(t, domain.RecallOrder{Group: "g", Seq: 4, Actor: by("u")})
		require.Empty(t, code)
		recalls := e.mentions(t, "ann", "g").Recalled
		require.Len(t, recalls, 1)
		require.Equal(t, int64(4), recalls[0].Seq)

		entries := e.logged(t, "g")
		entries = slices.DeleteFunc(entries, func(entry domain.LogEntry) bool { return entry.Group != "g" })
		e.commit(t, "g", entries[:3])
		ann := e.mentions(t, "ann", "g")
		require.Equal(t, []int64{4}, ann.Seqs)
		require.Equal(t, int64(3), ann.Persisted)
		require.Empty(t, e.mentions(t, "cy", "g").Seqs)
		p := e.cfg.Partitions.Of("g")
		users, err := e.store.rdb.HKeys(t.Context(), mentionsKey(p, 1, "g")).Result()
		require.NoError(t, err)
		require.Equal(t, []string{"ann"}, users, "what MySQL has takes no room")
		e.commit(t, "g", entries[3:])
		n, err := e.store.rdb.Exists(t.Context(), mentionsKey(p, 1, "g")).Result()
		require.NoError(t, err)
		require.Zero(t, n)

		require.Greater(t, e.mentions(t, "ann", "elsewhere").Persisted, int64(1<<52), "of a group without messages MySQL knows all")
	})
}

// A message that names somebody over and over would push all others off his list.
func TestAMessageMentionsAUserOnce(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(group("g", domain.Room)), AppendConfig{})
		s.must(t, domain.Draft{Group: "g", From: "u", Mentions: []string{"ann"}})
		s.must(t, domain.Draft{Group: "g", From: "u", Mentions: []string{"ann", "bob", "ann", "ann"}})
		require.Equal(t, []int64{2, 1}, e.mentions(t, "ann", "g").Seqs)
		require.Equal(t, []int64{2}, e.mentions(t, "bob", "g").Seqs)
	})
}

// The lists are bounded: of many mentions the last ones are known, and that there are more.
func TestMentionsThatAreManyAreCut(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(group("g", domain.Room)), AppendConfig{})
		var all []int64
		for n := range 300 {
			who := []string{"ann"}
			if n == 5 || n == 299 {
				who = []string{"*"}
			}
			all = append(all, s.must(t, domain.Draft{Group: "g", From: "u", Mentions: who}).Seq)
		}
		slices.Reverse(all)
		ann := e.mentions(t, "ann", "g")
		require.True(t, ann.Cut)
		require.Greater(t, len(ann.Seqs), 20)
		require.Equal(t, all[:len(ann.Seqs)], ann.Seqs, "none between is missing")
		bob := e.mentions(t, "bob", "g")
		require.False(t, bob.Cut)
		require.Equal(t, []int64{300, 6}, bob.Seqs)

		p := e.cfg.Partitions.Of("g")
		require.NoError(t, e.store.rdb.HSet(t.Context(), persistedKey(p, 1), "g", 290).Err())
		ann = e.mentions(t, "ann", "g")
		require.False(t, ann.Cut, "MySQL has the others")
		require.Equal(t, all[:10], ann.Seqs)
	})
}
