package redisrepo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/domain/testserver"
)

// listener notes what a Subscriber hands out.
type listener struct {
	mu         sync.Mutex // guards what follows
	pushes     []domain.Push
	confirmed  map[string]int
	watermarks []string
	notices    []string
	notes      map[string]int // how often a user's notes were announced
}

func (l *listener) Published(p domain.Push) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pushes = append(l.pushes, p)
}

func (l *listener) Noticed(group string, n domain.Notice) { l.notice("group "+group, n) }

func (l *listener) UserNoticed(user string, n domain.Notice) { l.notice("user "+user, n) }

func (l *listener) notice(to string, n domain.Notice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.Repaired {
		l.notices = append(l.notices, fmt.Sprintf("%s: %srepaired from %d on", to, n.Event, n.After))
		return
	}
	l.notices = append(l.notices, fmt.Sprintf("%s: %s, except %q, came %q, gone %q, version %d, dismissed %v", to, n.Event, n.Except, n.Came, n.Gone, n.Version, n.Dismissed))
}

func (l *listener) UserNotes(user string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes[user]++
}

func (l *listener) noticed() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.notices)
}

func (l *listener) notesOf(user string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.notes[user]
}

func (l *listener) Confirmed(group string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.confirmed[group]++
}

func (l *listener) Refused(group string, gen, seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watermarks = append(l.watermarks, fmt.Sprint("not ", group, " ", gen, " ", seq))
}

func (l *listener) Persisted(group string, gen, seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watermarks = append(l.watermarks, fmt.Sprint(group, " ", gen, " ", seq))
}

func (l *listener) pushed() []domain.Push {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.pushes)
}

func (l *listener) confirmations(group string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.confirmed[group]
}

func (l *listener) marks() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.watermarks)
}

// subscriber is a running Subscriber and what it hands out.
type subscriber struct {
	*Subscriber
	*listener
}

// subscribe starts a subscriber and waits until the groups' channels are there.
func (e *env) subscribe(t *testing.T, store *Store, groups ...string) *subscriber {
	t.Helper()
	return e.subscribeWith(t, store, io.Discard, patience, groups...)
}

func (e *env) subscribeWith(t *testing.T, store *Store, log io.Writer, silence time.Duration, groups ...string) *subscriber {
	t.Helper()
	l := &listener{confirmed: make(map[string]int), notes: make(map[string]int)}
	s := NewSubscriber(store, l, "i1#0", zerolog.New(log), prometheus.NewRegistry())
	s.silenceLimit = silence
	s.canaryInterval, s.canaryGrace = min(canaryInterval, silence/5), min(canaryGrace, silence/3)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	s.Subscribe(groups)
	for _, g := range groups {
		until(t, "confirmation of "+g, func() bool { return l.confirmations(g) > 0 })
	}
	return &subscriber{s, l}
}

func (s *subscriber) givenUp(reason string) float64 {
	return testutil.ToFloat64(s.reconnects.WithLabelValues(reason))
}

func TestSubscriberReceivesEachGroupInOrder(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		groups := append(groupsIn(1, 2), groupsIn(2, 1)...)
		r := e.recovery()
		for _, g := range groups {
			r.groups[g] = group(g, domain.Room)
		}
		heard := e.subscribe(t, e.store, groups...)
		s := e.sender(t, r, AppendConfig{})
		const each = 50
		var answers []<-chan result
		for i := range each * len(groups) {
			answers = append(answers, s.post(domain.Draft{Group: groups[i%3], From: "u"}))
		}
		for _, answer := range answers {
			require.NoError(t, await(t, answer).err)
		}
		until(t, "all pushes", func() bool { return len(heard.pushed()) >= len(answers) })
		next := make(map[string]int64)
		for _, p := range heard.pushed() {
			next[p.Group]++
			require.Equal(t, next[p.Group], p.Seq)
		}
		require.Equal(t, map[string]int64{groups[0]: each, groups[1]: each, groups[2]: each}, next)
	})
}

func TestSubscribeAndUnsubscribeWhileRunning(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room), group("b", domain.Room))
		heard := e.subscribe(t, e.store, "a")
		s := e.sender(t, r, AppendConfig{})
		heard.Subscribe([]string{"b"})
		until(t, "confirmation of b", func() bool { return heard.confirmations("b") == 1 })
		s.must(t, domain.Draft{Group: "b", From: "u"}) // everything after the confirmation arrives
		until(t, "push of b", func() bool { return len(heard.pushed()) == 1 })

		heard.Unsubscribe([]string{"b"})
		heard.Subscribe([]string{"a"}) // answered after the other
		until(t, "confirmation of a", func() bool { return heard.confirmations("a") == 2 })
		s.must(t, domain.Draft{Group: "b", From: "u"})
		s.must(t, domain.Draft{Group: "a", From: "u"})
		until(t, "push of a", func() bool { return len(heard.pushed()) == 2 })
		require.Equal(t, "a", heard.pushed()[1].Group)
	})
}

func TestSubscriberConfirmsAgainAfterALostConnection(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		p := testserver.NewProxy(t, e.addr)
		heard := e.subscribe(t, e.open(t, p.Addr()), "a", "b")
		s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
		if e.server != nil {
			killed, err := e.store.rdb.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Result()
			require.NoError(t, err)
			require.Equal(t, int64(1), killed)
		} else {
			p.Links().Cut()
		}
		until(t, "second confirmations", func() bool { return heard.confirmations("a") == 2 && heard.confirmations("b") == 2 })
		s.must(t, domain.Draft{Group: "a", From: "u"})
		until(t, "push", func() bool { return len(heard.pushed()) == 1 })
		require.Equal(t, 1.0, heard.givenUp("error"))
	})
}

// A connection that neither delivers nor breaks is the failure that go-redis' own channel never notices.
func TestSubscriberNoticesAHalfOpenConnection(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		p := testserver.NewProxy(t, e.addr)
		heard := e.subscribeWith(t, e.open(t, p.Addr()), io.Discard, 500*time.Millisecond, "a")
		s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
		p.Links().Stall()
		s.must(t, domain.Draft{Group: "a", From: "u"})
		start := time.Now()
		until(t, "second confirmation", func() bool { return heard.confirmations("a") == 2 })
		require.Less(t, time.Since(start), 10*time.Second)
		require.Equal(t, 1.0, heard.givenUp("silent"))
		s.must(t, domain.Draft{Group: "a", From: "u"})
		until(t, "push", func() bool { return len(heard.pushed()) == 1 })
		require.Equal(t, int64(2), heard.pushed()[0].Seq)
	})
}

func TestQuietConnectionIsKept(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		heard := e.subscribeWith(t, e.store, io.Discard, 500*time.Millisecond, "a")
		s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
		quiet := time.Now().Add(2 * heard.silenceLimit)
		until(t, "a while without a message", func() bool { return time.Now().After(quiet) })
		require.Equal(t, 1, heard.confirmations("a"), "the canaries came back")
		s.must(t, domain.Draft{Group: "a", From: "u"})
		until(t, "push", func() bool { return len(heard.pushed()) == 1 })
	})
}

func TestSubscriberWaitsForRedisToComeBack(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	heard := e.subscribe(t, e.store, "a")
	require.NoError(t, e.server.Kill())
	until(t, "connection given up", func() bool { return heard.givenUp("error") >= 1 })
	heard.Subscribe([]string{"b"}) // noted for later
	require.NoError(t, e.server.Restart())
	until(t, "confirmations", func() bool { return heard.confirmations("a") == 2 && heard.confirmations("b") >= 1 })
}

func TestUnknownPayloadsAreReportedAndSkipped(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		var log syncBuffer
		heard := e.subscribeWith(t, e.store, &log, patience, "a")
		heard.SubscribeUser("u")
		until(t, "the user's channel", func() bool { return heard.notesOf("u") == 1 })
		p := e.cfg.Partitions.Of("a")
		group, marks := groupChannel(p, "a"), persistedChannel(p)
		user := userChannel(e.cfg.Partitions.Of("u"), "u")
		payloads := []struct{ channel, payload string }{
			{group, ""},
			{group, "\n"},
			{group, "m 1 2 -"},
			{group, "m 1 2\n{}"},
			{group, "m x 2 -\n{}"},
			{group, "m 1 y -\n{}"},
			{group, "z 1 2 -\n{}"},
			{group, "e\n{}"},
			{group, "l\n{}"},
			{group, "d x\n{}"},
			{group, "r\n"},
			{group, "r x\n"},
			{user, ""},
			{user, "x"},
			{user, "e -"},
			{marks, ""},
			{marks, "x a 1"},
			{marks, "1 a x"},
			{marks, "1 a"},
		}
		for _, m := range payloads {
			require.NoError(t, e.store.rdb.Publish(t.Context(), m.channel, m.payload).Err())
		}
		require.NoError(t, e.store.rdb.Publish(t.Context(), marks, "1 a 7 b 8").Err())
		require.NoError(t, e.store.rdb.Publish(t.Context(), group, "m 1 2 conn\n{}").Err())
		until(t, "the good ones", func() bool { return len(heard.pushed()) == 1 && len(heard.marks()) == 2 })
		require.Equal(t, domain.Push{Group: "a", Gen: 1, Seq: 2, Mute: "conn", Event: []byte("{}")}, heard.pushed()[0])
		require.Equal(t, []string{"a 1 7", "b 1 8"}, heard.marks())
		require.Equal(t, len(payloads)-1, bytes.Count(log.bytes(), []byte("payload not understood")), log.bytes())
		require.Equal(t, 1, heard.confirmations("a"), "the connection stays")
	})
}

func TestNoticesReachGroupsAndUsers(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		heard := e.subscribe(t, e.store, "a", "b")
		heard.SubscribeUser("u")
		until(t, "the user's channel", func() bool { return heard.notesOf("u") == 1 })
		require.NoError(t, e.store.ToGroups(ctx, []string{"a", "b"}, "", []byte("{1}")))
		require.NoError(t, e.store.ToGroups(ctx, []string{"a"}, domain.ExceptUser("u"), []byte("{2}")))
		require.NoError(t, e.store.Changed(ctx, &domain.GroupChange{Group: domain.Group{ID: "a", Version: 2}, Notices: []domain.Notice{
			{Event: []byte("{3}"), Gone: "u", Version: 7}, {Event: []byte("{3a}"), Came: "u", Version: 8}, {Event: []byte("{4}"), Except: "c1"}, {Event: []byte("{5}"), Dismissed: true}, {Gone: "v"},
		}}))
		require.NoError(t, e.store.PublishRepair(ctx, "b", 0))
		require.NoError(t, e.store.ToUser(ctx, "u", "c2", []byte("{6}")))
		require.NoError(t, e.store.ToUser(ctx, "v", "", []byte("{7}"))) // nobody listens
		require.NoError(t, e.store.Tell(ctx, map[string]domain.Note{"u": {Kind: domain.NoteLeft, Group: "a"}}))
		until(t, "the notes", func() bool { return heard.notesOf("u") == 2 })
		require.Equal(t, []string{
			`group a: {1}, except "", came "", gone "", version 0, dismissed false`,
			`group b: {1}, except "", came "", gone "", version 0, dismissed false`,
			`group a: {2}, except "@u", came "", gone "", version 0, dismissed false`,
			`group a: {3}, except "", came "", gone "u", version 7, dismissed false`,
			`group a: {3a}, except "", came "u", gone "", version 8, dismissed false`,
			`group a: {4}, except "c1", came "", gone "", version 0, dismissed false`,
			`group a: {5}, except "", came "", gone "", version 0, dismissed true`,
			`group a: , except "", came "", gone "v", version 0, dismissed false`,
			`group b: repaired from 0 on`,
			`user u: {6}, except "c2", came "", gone "", version 0, dismissed false`,
		}, heard.noticed())

		heard.UnsubscribeUser("u")
		heard.Subscribe([]string{"a"}) // answered after the other
		until(t, "confirmation of a", func() bool { return heard.confirmations("a") == 2 })
		require.NoError(t, e.store.ToUser(ctx, "u", "", []byte("{8}")))
		require.NoError(t, e.store.ToGroups(ctx, []string{"a"}, "", []byte("{9}")))
		until(t, "the last notice", func() bool { return len(heard.noticed()) == 11 })
		require.Contains(t, heard.noticed()[10], "{9}")
	})
}

func TestReadMarksAreToldInSmallGroupsOnly(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		for _, g := range []struct {
			id      string
			members int
			typ     domain.GroupType
		}{{"small", smallGroup, domain.Private}, {"large", smallGroup + 1, domain.Private}, {"room", 0, domain.Room}} {
			s := &domain.GroupSnapshot{Group: domain.Group{ID: g.id, Type: g.typ, Version: 1}}
			for i := range g.members {
				s.Members = append(s.Members, domain.Membership{User: fmt.Sprint("u", i), Role: domain.Member})
			}
			require.NoError(t, e.store.FillGroup(ctx, s))
		}
		heard := e.subscribe(t, e.store, "small", "large", "room", "unknown")
		mark := func(group string, seq int64) {
			_, err := e.store.MarkRead(ctx, group, "u0", seq, 0, fmt.Appendf(nil, "{%s %d}", group, seq))
			require.NoError(t, err)
		}
		mark("large", 5)
		mark("room", 5)    // he has not joined it
		mark("unknown", 5) // how many are in it is not known
		mark("small", 5)
		mark("small", 4) // moves nothing
		mark("small", 6)
		until(t, "two notices", func() bool { return len(heard.noticed()) >= 2 })
		require.Equal(t, []string{
			`group small: {small 5}, except "@u0", came "", gone "", version 0, dismissed false`,
			`group small: {small 6}, except "@u0", came "", gone "", version 0, dismissed false`,
		}, heard.noticed())
	})
}

func TestFlowingFollowsTheCanary(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		p := testserver.NewProxy(t, e.addr)
		heard := e.subscribeWith(t, e.open(t, p.Addr()), io.Discard, time.Second, "a")
		until(t, "the first canary", heard.Flowing)
		require.NoError(t, heard.Check(t.Context()))
		p.Links().Stall()
		until(t, "no canary", func() bool { return !heard.Flowing() && heard.Check(t.Context()) != nil })
		err := heard.Check(t.Context())
		require.Equal(t, domain.CodeUnavailable, domain.CodeOf(err))
		require.ErrorContains(t, err, "nothing has come back through Redis pub/sub for ")
		until(t, "a new connection", heard.Flowing)
		require.Equal(t, 2, heard.confirmations("a"))
	})
}

type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.buf.Bytes())
}
