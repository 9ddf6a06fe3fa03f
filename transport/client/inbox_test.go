package client

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// blocked is a session of a client whose follower takes nothing up.
func blocked(t *testing.T, change func(*Config)) *session {
	t.Helper()
	cfg := Config{URLs: []string{"http://x"}, Token: func(context.Context) (string, error) { return "", nil }, All: true}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	require.NoError(t, err)
	return &session{client: c, user: "ann", welcomed: true}
}

func (s *session) write(t *testing.T, format string, args ...any) {
	t.Helper()
	s.take(t.Context(), fmt.Appendf(nil, format, args...))
}

func TestEventsDoNotPileUpWhileAHookBlocks(t *testing.T) {
	t.Parallel()
	s := blocked(t, nil)
	const many = 3 * maxNews
	for n := range many {
		s.write(t, `{"event":"group","group":"g%d","change":"joined","user":"ann"}`, n%(2*maxNews))
		s.write(t, `{"event":"resync","groups":[{"group":"r%d","after_seq":%d},{"group":"s"}]}`, n%(2*maxNews), n)
		s.write(t, `{"event":"group","group":"g%d","change":"updated"}`, n)
		s.write(t, `{"event":"group","group":"h%d","change":"joined","user":"bob"}`, n)
	}
	b := s.client.inbox
	require.Len(t, b.items, 1)
	require.Len(t, b.news.joined, maxNews)
	require.Len(t, b.news.resync, maxNews)
	require.True(t, b.news.more)
	require.EqualValues(t, 0, b.news.resync["r0"], "the lowest seq counts")
	require.EqualValues(t, fromCursor, b.news.resync["s"])

	s.client.follower.told(b.takeNews())
	require.Nil(t, b.news)
	s.write(t, `{"event":"group","group":"late","change":"created"}`)
	require.Len(t, b.items, 2, "what comes later has a turn of its own")
}

func TestGroupEventsAreForWhoFollowsAll(t *testing.T) {
	t.Parallel()
	s := blocked(t, func(cfg *Config) { cfg.All = false })
	s.write(t, `{"event":"group","group":"g","change":"joined","user":"ann"}`)
	require.Empty(t, s.client.inbox.items)
}

func TestWhatWaitsHoldsNoFrame(t *testing.T) {
	t.Parallel()
	frame := []byte(usualPush)
	p, ok := parsePush(frame)
	require.True(t, ok)
	want := p.Message
	want.Body = json.RawMessage(strings.Clone(string(p.Body)))
	clear(frame)
	require.Equal(t, want, p.Message)

	var got string
	s := blocked(t, func(cfg *Config) { cfg.OnEvent = func(_ string, raw json.RawMessage) { got = string(raw) } })
	const event = `{"event":"hot","groups":[]}`
	frame = []byte(event)
	s.take(t.Context(), frame)
	clear(frame)
	i, _, _ := s.client.inbox.take()
	i.then()
	require.Equal(t, event, got)
}

func TestTheInboxIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 12_000)
	push := func(s *session, group string, seq int) {
		s.write(t, `{"event":"message","group":%q,"seq":%d,"time_ms":1,"from":"bob","body":[{"type":"text","text":%q}]}`, group, seq, large)
	}
	event := func(s *session, _ string, _ int) { s.write(t, `{"event":"signal","data":%q}`, large) }
	for name, write := range map[string]func(s *session, group string, seq int){"pushes": push, "events": event} {
		s := blocked(t, func(cfg *Config) {
			cfg.Held = 1_000_000
			cfg.OnEvent = func(string, json.RawMessage) {}
		})
		b := s.client.inbox
		b.answer(maxHeldSize/2, func() {})
		for seq := range maxHeldSize / 10_000 {
			write(s, "g", seq+1)
		}
		require.Less(t, b.size, maxHeldSize+2*len(large), name)
		require.Less(t, len(b.items), maxHeldSize/2/len(large)+3, "%s give way to an answer that waits", name)
		for len(b.items) > 0 {
			b.take()
		}
		require.Zero(t, b.size, name)
		require.Zero(t, b.held, name)
	}
}
