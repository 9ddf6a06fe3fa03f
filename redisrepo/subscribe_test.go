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
)

// listener notes what a Subscriber hands out.
type listener struct {
	mu         sync.Mutex // guards what follows
	pushes     []domain.Push
	confirmed  map[string]int
	watermarks []string
}

func (l *listener) Published(p domain.Push) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pushes = append(l.pushes, p)
}

func (l *listener) Confirmed(group string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.confirmed[group]++
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
	l := &listener{confirmed: make(map[string]int)}
	s := NewSubscriber(store, l, zerolog.New(log), prometheus.NewRegistry())
	s.receiveTimeout, s.silenceLimit = 50*time.Millisecond, silence
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
		p := newProxy(t, e.addr)
		heard := e.subscribe(t, e.open(t, p.addr()), "a", "b")
		s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
		if e.server != nil {
			killed, err := e.store.rdb.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Result()
			require.NoError(t, err)
			require.Equal(t, int64(1), killed)
		} else {
			p.cut()
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
		p := newProxy(t, e.addr)
		heard := e.subscribeWith(t, e.open(t, p.addr()), io.Discard, 500*time.Millisecond, "a")
		s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
		p.stall()
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
		quiet := time.Now().Add(heard.silenceLimit + 4*heard.receiveTimeout)
		until(t, "a while without a message", func() bool { return time.Now().After(quiet) })
		require.Equal(t, 1, heard.confirmations("a"), "the pings were answered")
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
		p := e.cfg.Partitions.Of("a")
		group, marks := groupChannel(p, "a"), persistedChannel(p)
		payloads := []struct{ channel, payload string }{
			{group, ""},
			{group, "\n"},
			{group, "m 1 2 -"},
			{group, "m 1 2\n{}"},
			{group, "m x 2 -\n{}"},
			{group, "m 1 y -\n{}"},
			{group, "z 1 2 -\n{}"},
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
		require.Equal(t, 10, bytes.Count(log.bytes(), []byte("payload not understood")), log.bytes())
		require.Equal(t, 1, heard.confirmations("a"), "the connection stays")
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
