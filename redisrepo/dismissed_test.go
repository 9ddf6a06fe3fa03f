package redisrepo

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// traces are the keys, fields and members in which a group is named.
func (e *env) traces(t *testing.T, group string) (found []string) {
	t.Helper()
	ctx := t.Context()
	named := func(s string) bool { return s == group || strings.HasPrefix(s, group+"|") }
	for _, key := range e.store.rdb.Keys(ctx, "*").Val() {
		if strings.Contains(key, "rate:") {
			continue // ends by itself, in milliseconds
		}
		if strings.HasSuffix(key, ":"+group) {
			found = append(found, key)
		}
		var names []string
		switch e.store.rdb.Type(ctx, key).Val() {
		case "hash":
			names = e.store.rdb.HKeys(ctx, key).Val()
		case "zset":
			names = e.store.rdb.ZRange(ctx, key, 0, -1).Val()
		case "set":
			names = e.store.rdb.SMembers(ctx, key).Val()
		}
		for _, name := range names {
			if named(name) {
				found = append(found, key+" "+name)
			}
		}
	}
	return found
}

// dismissed dismisses a group as domain.Groups does.
func (e *env) dismissed(t *testing.T, g *domain.GroupSnapshot, told bool) *domain.GroupChange {
	t.Helper()
	c := &domain.GroupChange{Group: g.Group, Raised: told}
	c.Version, c.Dismissed = g.Version+1, true
	if told {
		c.Notices = []domain.Notice{{Event: []byte("{}"), Dismissed: true}}
	}
	require.NoError(t, e.store.Changed(t.Context(), c))
	return c
}

func TestADismissedGroupIsForgotten(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		e.store.cfg.CountMessages = true
		groups := groupsIn(3, 2) // their names begin alike, or not: nothing of the other one goes
		a, b := group(groups[0], domain.Room, "u1"), group(groups[1], domain.Room, "u1")
		p := e.cfg.Partitions.Of(a.ID)
		s := e.sender(t, e.recovery(a, b), AppendConfig{GroupRate: 1000})
		for _, g := range groups {
			for _, u := range []string{"u1", "u2"} {
				s.must(t, domain.Draft{Group: g, From: u, ClientID: "c"})
			}
			_, err := e.store.Announce(ctx, "i", map[string]int{g: 2})
			require.NoError(t, err)
			require.NoError(t, e.store.FillFloors(ctx, map[string]domain.Floor{g: {}}))
		}
		s.must(t, domain.Draft{Group: a.ID, From: "u1", Mentions: []string{"u2"}})
		_, err := e.store.Recall(ctx, domain.RecallOrder{Group: a.ID, Seq: 1, Actor: domain.Actor{User: "u1"}})
		require.NoError(t, err)
		_, err = e.store.Expiring(ctx, groups)
		require.NoError(t, err)
		before := e.traces(t, b.ID)
		e.dismissed(t, a, true)
		require.Negative(t, e.store.rdb.PTTL(ctx, groupKey(p, a.ID)).Val())
		listed, err := e.store.Dismissed(ctx, p)
		require.NoError(t, err)
		require.Empty(t, listed, "MySQL lacks its messages")
		done, err := e.store.ForgetGroup(ctx, a.ID)
		require.NoError(t, err)
		require.False(t, done, "MySQL lacks its messages")
		require.Contains(t, e.traces(t, a.ID), recentKey(p, 1, a.ID))
		entries := e.logged(t, a.ID)
		mentions := e.store.rdb.Dump(ctx, mentionsKey(p, 1, a.ID)).Val()
		e.commit(t, a.ID, entries)
		listed, err = e.store.Dismissed(ctx, p)
		require.NoError(t, err)
		require.Equal(t, []string{a.ID}, listed)
		// As if whoever has committed had not got to the mentions.
		require.NoError(t, e.store.rdb.Restore(ctx, mentionsKey(p, 1, a.ID), 0, mentions).Err())
		done, err = e.store.ForgetGroup(ctx, a.ID)
		require.NoError(t, err)
		require.True(t, done)
		require.Equal(t, []string{groupKey(p, a.ID)}, e.traces(t, a.ID), "that it was dismissed is known for a while")
		ttl := e.store.rdb.PTTL(ctx, groupKey(p, a.ID)).Val()
		require.Positive(t, ttl)
		require.LessOrEqual(t, ttl, dismissedTTL)
		s.refused(t, domain.CodeGone, domain.Draft{Group: a.ID, From: "u1"})
		require.Subset(t, e.traces(t, b.ID), []string{recentKey(p, 1, b.ID), seqKey(p, 1) + " " + b.ID, speakersKey(p) + " " + b.ID + "|u2"})
		require.Len(t, e.traces(t, b.ID), len(before), "the other group is as it was")

		// An instance that has missed the watermark does not keep its messages for ever.
		marks, _, err := e.store.Reached(ctx, e.log(a.ID), groups, nil)
		require.NoError(t, err)
		require.GreaterOrEqual(t, marks[a.ID], int64(2))
		require.Less(t, marks[b.ID], int64(1<<53))
	})
}

func TestADismissedGroupLeavesItsUsersLists(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		for _, u := range []string{"u1", "u2"} {
			require.NoError(t, e.store.RememberGroups(t.Context(), u, []string{"a", "b"}, "0-0"))
		}
		require.NoError(t, e.store.ForgetMine(t.Context(), "a", []string{"u1", "without a list"}))
		groups, known := e.mine(t, "u1")
		require.True(t, known)
		require.Equal(t, []string{"b"}, groups)
		groups, _ = e.mine(t, "u2")
		require.ElementsMatch(t, []string{"a", "b"}, groups)
		_, known = e.mine(t, "without a list")
		require.False(t, known)
	})
}

// Who asks for a dismissed group later brings back for a while that it was, and gives nobody work.
func TestAForgottenGroupIsToldAgainAndStaysForgotten(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		g := group("a", domain.Room, "u1")
		p := e.cfg.Partitions.Of("a")
		require.NoError(t, e.store.FillGroup(ctx, g))
		c := e.dismissed(t, g, false) // whoever dismissed it did not get so far
		listed, err := e.store.Dismissed(ctx, p)
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, listed)
		done, err := e.store.ForgetGroup(ctx, "a")
		require.NoError(t, err)
		require.True(t, done)
		require.NoError(t, e.store.Changed(ctx, &domain.GroupChange{Group: c.Group}))
		listed, err = e.store.Dismissed(ctx, p)
		require.NoError(t, err)
		require.Empty(t, listed)

		require.NoError(t, e.store.rdb.Del(ctx, groupKey(p, "a")).Err()) // its time has passed
		snapshot := &domain.GroupSnapshot{Group: c.Group, Members: g.Members}
		require.NoError(t, e.store.FillGroup(ctx, snapshot))
		require.Positive(t, e.store.rdb.PTTL(ctx, groupKey(p, "a")).Val())
		require.True(t, e.head(t, "u1", "a").Dismissed)
		e.raise(t, 2)
		done, err = e.store.ForgetGroup(ctx, "a")
		require.NoError(t, err)
		require.True(t, done, "in a new generation as well")
	})
}
