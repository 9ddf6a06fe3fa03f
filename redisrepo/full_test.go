package redisrepo

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// What a full Redis refuses is said to be overloaded, and is not done by half.
func TestFullRedisIsOverloaded(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	p := e.cfg.Partitions.Of("a")
	recent := domain.RecentSend{Dedupe: "c1", Seq: 1, TimeMS: time.Now().UnixMilli(), Hash: "00"}
	e.configSet(t, "maxmemory", "1")
	for name, do := range map[string]func(ctx context.Context) error{
		"seeds": func(ctx context.Context) error {
			return e.store.SetSeeds(ctx, p, 1, map[string]domain.Seed{"a": {Start: 5}})
		},
		"seeds with sends": func(ctx context.Context) error {
			return e.store.SetSeeds(ctx, p, 1, map[string]domain.Seed{"a": {Start: 5, Recent: []domain.RecentSend{recent}}})
		},
		"floors": func(ctx context.Context) error {
			return e.store.FillFloors(ctx, map[string]domain.Floor{"a": {MaxSeq: 5}})
		},
		"read marks": func(ctx context.Context) error {
			return e.store.FillReads(ctx, map[domain.GroupUser]int64{{Group: "a", User: "u"}: 5})
		},
		"check of the room": func(ctx context.Context) error { return e.store.CheckRoom(ctx) },
		"read": func(ctx context.Context) error {
			_, err := e.store.MarkRead(ctx, "a", "u", 5, 0, nil)
			return err
		},
		"turn to take a snapshot": func(ctx context.Context) error {
			_, err := e.store.SnapshotTurn(ctx, "room", "me", time.Second)
			return err
		},
		"snapshot": func(ctx context.Context) error {
			_, err := e.store.SaveSnapshot(ctx, "room", "me", snapshot("s", 3), time.Second, time.Minute)
			return err
		},
		"heat that is brought back": func(ctx context.Context) error {
			return e.store.AddHeat(ctx, e.log("a"), []domain.Speaker{{Group: "a", User: "u", TimeMS: recent.TimeMS}})
		},
	} {
		require.Equal(t, domain.CodeOverloaded, domain.CodeOf(do(t.Context())), name)
	}
	require.Equal(t, []string{genKey(p)}, e.store.rdb.Keys(t.Context(), partitionKey(p, "*")).Val())
	require.NoError(t, e.store.FillGroup(t.Context(), group("a", domain.Room)), "begins with a write that needs no memory")
	c := &domain.GroupChange{Group: group("a", domain.Room).Group, Raised: true, Put: []domain.Membership{{User: "u", Role: domain.BlockedIn}}}
	c.Version = 2
	require.NoError(t, e.store.Changed(t.Context(), c), "so does a change")
	require.Equal(t, domain.BlockedIn, e.head(t, "u", "a").Role)
}

// A group that has to be seeded in a full Redis: its sends are told so at once, and go again when there is room.
func TestSendsToAGroupWithoutSeqInAFullRedis(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
	e.configSet(t, "maxmemory", "1")
	begun := time.Now()
	err := s.refused(t, domain.CodeOverloaded, domain.Draft{Group: "a", From: "u"})
	require.Positive(t, err.RetryAfter)
	require.Less(t, time.Since(begun), sendDeadline/2, "it is not tried until its deadline")
	require.Empty(t, e.logged(t, "a"))
	require.Equal(t, map[string]float64{"FULL": 1}, s.counts())
	e.configSet(t, "maxmemory", "0")
	require.Equal(t, int64(1), s.must(t, domain.Draft{Group: "a", From: "u"}).Seq)
}

// Who cannot know whether an earlier try was stored is not told that nothing was.
func TestFullRedisIsNoAnswerToASendThatMayBeStored(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	r := e.recovery(group("a", domain.Room))
	full := true
	r.onSeed = func(ctx context.Context, gen int64, groups []string) error {
		if full {
			full = false
			return domain.Full(nil)
		}
		return r.seed(ctx, e.cfg.Partitions.Of("a"), gen, groups)
	}
	s := idleSender(e.store, r, AppendConfig{}, zerolog.Nop())
	answer := s.post(domain.Draft{Group: "a", From: "u", ClientID: "c"})
	s.queues[e.cfg.Partitions.Of("a")].sends[0].tried = 7
	s.run(t)
	got := await(t, answer)
	require.NoError(t, got.err)
	require.False(t, full)
}
