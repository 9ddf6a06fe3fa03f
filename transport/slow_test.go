package transport

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// push hands out the group's next n messages.
func (s *piped) push(group string, n int) {
	for _, p := range s.b.accept(group, n) {
		s.Hub().Published(p)
	}
}

// pushBig hands out one message of about this many bytes.
func (s *piped) pushBig(group string, bytes int) {
	s.b.mu.Lock()
	push := s.b.store(s.b.groups[group], "bob", "", textBody(strings.Repeat("x", bytes)))
	s.b.mu.Unlock()
	s.Hub().Published(push)
}

func TestSlowReader(t *testing.T) {
	t.Parallel()
	// Each case: a client that has not read anything yet, with welcome on its way to it.
	for name, c := range map[string]struct {
		pushes func(s *piped)
		slow   bool
	}{
		"as many pushes as may wait": {func(s *piped) { s.push("g", 256) }, false},
		"one more":                   {func(s *piped) { s.push("g", 257) }, true},
		"as many bytes as may wait":  {func(s *piped) { times(100, func() { s.pushBig("g", 10_000) }) }, false},
		"more":                       {func(s *piped) { times(106, func() { s.pushBig("g", 10_000) }) }, true},
		"one push, however big":      {func(s *piped) { s.pushBig("g", 2<<20) }, false},
		"and another":                {func(s *piped) { s.pushBig("g", 2<<20); s.push("g", 1) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, func(t *testing.T, s *piped) {
				client := s.dialSilently(t, "ann", time.Hour)
				synctest.Wait()
				other := s.dial(t, "cy").ready()
				other.ok(`{"id":1,"op":"subscribe","group":"r"}`, nil)
				started := time.Now()
				c.pushes(s)
				s.push("r", 1)
				require.Equal(t, started, time.Now(), "fan-out does not wait")
				client.startReading()
				client.ready()
				if c.slow {
					require.Equal(t, `{"event":"resync","groups":[{"group":"g"}]}`, client.next().raw)
					client.alive()
				} else {
					client.message(1)
				}
				other.message(1)
			})
		})
	}
}

func times(n int, do func()) {
	for range n {
		do()
	}
}

func TestSlowReaderThatNeverReadsIsCutOff(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.add(domain.Private, "h", "ann")
		s.dialSilently(t, "ann", time.Hour)
		synctest.Wait()
		started := time.Now()
		s.push("g", 1000) // lost, with a resync
		s.push("h", 1000)
		conn := s.open()[0]
		<-conn.done
		require.InDelta(t, 1, testutil.ToFloat64(s.metrics.slow.WithLabelValues("close")), 0)
		require.LessOrEqual(t, time.Since(started), s.cfg.WriteTimeout+closeTimeout)
		require.Empty(t, s.open())
	})
}

func TestRepliesDoNotMakeAReaderSlow(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		times(200, func() { s.pushBig("r", 10_000) })
		c := s.dialSilently(t, "ann", time.Hour)
		c.write(`{"id":1,"op":"pull","group":"r","limit":200}`) // 2 MB, on their way
		synctest.Wait()
		s.push("g", 200) // behind it
		c.startReading()
		c.ready()
		require.Equal(t, int64(1), *c.next().ID)
		for seq := int64(1); seq <= 200; seq++ {
			c.message(seq)
		}
		c.alive()
	})
}

func TestPushesHeldForASubscribeDoNotMakeItsReaderSlow(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		times(200, func() { s.pushBig("r", 10_000) })
		c := s.dial(t, "ann").ready()
		goOn := s.b.stall("Recent")
		c.write(`{"id":1,"op":"subscribe","group":"r","after_seq":0,"limit":200}`)
		synctest.Wait() // the page is being read
		s.push("r", maxHeld)
		goOn()
		var p page
		o := c.next()
		require.NotNil(t, o.OK, o.raw)
		p = decode[page](t, o.OK)
		require.Len(t, p.Messages, 200)
		for seq := int64(201); seq <= 200+maxHeld; seq++ {
			c.message(seq)
		}
		c.alive()
	})
}

func TestMorePushesThanCanBeHeldAreAResync(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.accept("r", 3)
		c := s.dial(t, "ann").ready()
		goOn := s.b.stall("Recent")
		c.write(`{"id":1,"op":"subscribe","group":"r","after_seq":1}`)
		synctest.Wait()
		s.push("r", maxHeld+1)
		goOn()
		o := c.next()
		require.NotNil(t, o.OK, o.raw)
		require.Equal(t, `{"event":"resync","groups":[{"group":"r","after_seq":3}]}`, c.next().raw)
		s.push("r", 1)
		c.alive() // no longer subscribed
		var p page
		c.ok(`{"id":2,"op":"subscribe","group":"r","after_seq":3}`, &p)
		require.Len(t, p.Messages, domain.DefaultPage)
		s.push("r", 1)
		c.message(3 + maxHeld + 3)
	})
}

func TestClientThatDoesNotReadItsRepliesIsNotRead(t *testing.T) {
	t.Parallel()
	const n = 3 * maxTasks // frames
	for name, c := range map[string]struct {
		frame   string
		replies int // to a frame
	}{
		"of ops beside the reader": {`{"id":1,"op":"pull","group":"r","limit":1}`, 1}, // 10 kB
		"of the reader itself":     {strings.Repeat(`{"id":-1,"op":"ping"}`+"\n", 100), 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(o *options) { o.cfg.FrameRate, o.cfg.QueueBytes = 0, 64<<10 }, func(t *testing.T, s *piped) {
				times(10, func() { s.pushBig("r", 10_000) })
				client := s.dialSilently(t, "cy", time.Hour)
				written, over := make(chan int, n), make(chan struct{})
				go func() {
					defer close(over)
					for i := range n {
						if client.ws.WriteMessage(websocket.TextMessage, []byte(c.frame)) == nil {
							written <- i
						}
					}
				}()
				synctest.Wait()
				require.Less(t, len(written), n/2, "held back")
				conn := s.open()[0]
				conn.mu.Lock()
				bytes, ops := conn.queuedBytes, len(conn.tasks)
				conn.mu.Unlock()
				require.Less(t, bytes, s.cfg.QueueBytes+c.replies*128+20_000, "what is kept is bounded")
				require.LessOrEqual(t, ops, maxTasks+1)
				client.startReading()
				client.ready()
				for range n * c.replies {
					o := client.next()
					require.True(t, o.OK != nil || o.Error != nil, o.raw)
				}
				<-over
				client.alive() // nothing was dropped, nothing is left
				require.Len(t, written, n)
			})
		})
	}
}

func TestOpsThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, func(o *options) { o.cfg.FrameRate = 0 }, func(t *testing.T, s *piped) {
		c := s.dial(t, "cy").ready()
		s.b.accept("r", 1)
		goOn := s.b.stall("Recent")
		const n = 2000
		written := make(chan int, n)
		over := make(chan struct{})
		go func() {
			defer close(over)
			for i := range n {
				c.write(fmt.Sprintf(`{"id":%d,"op":"pull","group":"r"}`, i))
				written <- i
			}
		}()
		synctest.Wait()
		require.Less(t, len(written), 500, "the reader stops")
		goOn()
		for i := range n {
			require.Equal(t, int64(i), *c.next().ID)
		}
		<-over
		c.alive()
	})
}
