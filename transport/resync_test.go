package transport

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// frame reads the next frame, for a client that does not read by itself.
func (c *client) frame() (objects []object) {
	c.t.Helper()
	require.NoError(c.t, c.ws.SetReadDeadline(time.Now().Add(patience)))
	_, frame, err := c.ws.ReadMessage()
	require.NoError(c.t, err)
	for _, line := range bytes.Split(frame, []byte("\n")) {
		o, err := parseObject(line)
		require.NoError(c.t, err)
		objects = append(objects, o)
	}
	synctest.Wait() // what was queued meanwhile is on its way
	return objects
}

// stuck is a client of ann with an answer on its way to it, which it does not read: all that comes is queued.
func (s *piped) stuck(t *testing.T) *client {
	t.Helper()
	c := s.dialSilently(t, "ann", time.Hour)
	require.Equal(t, "welcome", c.frame()[0].Event)
	c.stick()
	return c
}

// stick makes the writer wait for the client, in the midst of an answer.
func (c *client) stick() {
	c.t.Helper()
	c.write("nonsense") // the reader answers, whatever the ops do
	synctest.Wait()
}

// unstuck begins to read: the answer that was on its way.
func (c *client) unstuck() *client {
	c.t.Helper()
	require.NoError(c.t, c.ws.SetReadDeadline(time.Time{}))
	c.startReading()
	require.NotNil(c.t, c.next().Error)
	return c
}

// resync reads the next object, which must be a resync of these groups and no others.
func (c *client) resync(groups ...string) {
	c.t.Helper()
	o := c.next()
	require.Equal(c.t, "resync", o.Event, o.raw)
	got := make([]string, 0, len(o.Groups))
	for _, g := range o.Groups {
		require.Zero(c.t, g.AfterSeq, o.raw)
		got = append(got, g.Group)
	}
	require.Equal(c.t, groups, got)
}

// threeGroups gives ann g, h and i, and a queue of four pushes.
func threeGroups(t *testing.T, test func(t *testing.T, s *piped)) {
	t.Helper()
	inBubble(t, func(o *options) { o.cfg.QueueFrames = 4 }, func(t *testing.T, s *piped) {
		s.b.add(domain.Private, "h", "ann")
		s.b.add(domain.Private, "i", "ann")
		test(t, s)
	})
}

func TestASlowReaderIsToldOnceWhatItLostAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	threeGroups(t, func(t *testing.T, s *piped) {
		c := s.stuck(t)
		s.push("g", 2)
		s.push("h", 2)
		c.write(`{"id":7,"op":"pull","group":"i"}`)
		synctest.Wait()
		s.push("h", 1) // one too many
		s.push("g", 3)
		s.push("h", 3)
		s.push("i", 2)
		s.Hub().Noticed("g", domain.Notice{Event: []byte(`{"event":"signal"}`)})
		synctest.Wait()
		c.unstuck()
		require.Equal(t, int64(7), *c.next().ID, "a reply is kept")
		c.resync("g", "h")
		c.message(1)
		require.Equal(t, "i", c.message(2).Group)
		c.alive()
		require.InDelta(t, 1, testutil.ToFloat64(s.metrics.slow.WithLabelValues("resync")), 0)

		var p page
		c.ok(`{"id":8,"op":"subscribe","group":"g","after_seq":0}`, &p)
		require.Equal(t, []int64{1, 2, 3, 4, 5}, p.seqs(), "nothing is missing")
		s.push("h", 1)
		s.push("g", 1)
		c.message(6)
		s.Hub().Noticed("g", domain.Notice{Event: []byte(`{"event":"signal"}`)})
		require.Equal(t, "signal", c.next().Event)
		c.alive()
		c.ok(`{"id":9,"op":"subscribe","group":"h"}`, &p)
		require.Equal(t, int64(7), p.MaxSeq)
		s.push("h", 1)
		c.message(8)
	})
}

func TestASecondTimeTooSlow(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		wait   time.Duration
		closed bool
	}{
		"within 30 s": {slowAgain - time.Millisecond, true},
		"after 30 s":  {slowAgain, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			threeGroups(t, func(t *testing.T, s *piped) {
				c := s.stuck(t)
				overflowed := time.Now()
				s.push("g", 5)
				c.frame()
				require.Equal(t, `{"event":"resync","groups":[{"group":"g"}]}`, c.frame()[0].raw)
				time.Sleep(time.Until(overflowed.Add(row.wait)))
				c.stick()
				s.push("h", 5)
				s.push("i", 1)
				c.unstuck()
				if row.closed {
					require.NotNil(t, c.goodbye(domain.CloseTooSlow).ReconnectAfterMS)
					return
				}
				c.resync("h")
				c.message(1)
				c.alive()
			})
		})
	}
}

func TestEventsWithoutASeqAreLetGoInSilence(t *testing.T) {
	t.Parallel()
	signal := domain.Notice{Event: []byte(`{"event":"signal"}`)}
	threeGroups(t, func(t *testing.T, s *piped) {
		c := s.stuck(t)
		times(4, func() { s.Hub().Noticed("g", signal) })
		s.Hub().UserNoticed("ann", signal)
		c.unstuck()
		c.alive()
		s.push("g", 1)
		c.message(1) // still subscribed
	})
	threeGroups(t, func(t *testing.T, s *piped) {
		c := s.stuck(t)
		times(3, func() { s.Hub().Noticed("g", signal) })
		s.push("h", 1)
		s.Hub().Noticed("i", signal)
		c.unstuck()
		c.resync("h")
		s.push("g", 1)
		c.message(1)
		c.alive()
	})
}

func TestAFailedSubscribeOfALostSubscriptionLetsNothingThrough(t *testing.T) {
	t.Parallel()
	threeGroups(t, func(t *testing.T, s *piped) {
		c := s.stuck(t)
		s.push("g", 5)
		c.unstuck().resync("g")
		s.b.change(func(b *backend) { b.before = failing("Recent") })
		c.refused(`{"id":1,"op":"subscribe","group":"g","after_seq":0}`, domain.CodeUnavailable)
		s.b.change(func(b *backend) { b.before = failing("Heads") })
		c.refused(`{"id":2,"op":"subscribe","group":"g","after_seq":0}`, domain.CodeUnavailable)
		s.b.change(func(b *backend) { b.before = nil })
		s.push("g", 1)
		c.alive()
		var p page
		c.ok(`{"id":3,"op":"subscribe","group":"g","after_seq":0}`, &p)
		require.Len(t, p.Messages, 6)
		s.push("g", 1)
		c.message(7)
		c.alive()
	})
}

func TestASubscriptionLostWhileItsPageIsRead(t *testing.T) {
	t.Parallel()
	// lose makes pushes of g that were queued before its subscribe get lost while that reads its page.
	lose := func(t *testing.T, s *piped) (c *client, goOn func()) {
		c = s.stuck(t)
		s.push("g", 3)
		goOn = s.b.stall("Recent")
		c.write(`{"id":1,"op":"subscribe","group":"g","after_seq":1}`)
		synctest.Wait()
		s.push("h", 2)
		s.push("g", 1) // held
		return c.unstuck(), goOn
	}
	t.Run("the page replaces it", func(t *testing.T) {
		t.Parallel()
		threeGroups(t, func(t *testing.T, s *piped) {
			c, goOn := lose(t, s)
			c.resync("g", "h")
			goOn()
			o := c.next()
			require.Equal(t, []int64{2, 3}, decode[page](t, o.OK).seqs(), o.raw)
			c.message(4)
			s.push("g", 1)
			c.message(5)
			c.alive()
		})
	})
	t.Run("no page, and it stays lost", func(t *testing.T) {
		t.Parallel()
		threeGroups(t, func(t *testing.T, s *piped) {
			c, _ := lose(t, s)
			c.resync("g", "h")
			require.Equal(t, domain.CodeUnavailable, c.next().Error.Code)
			s.push("g", 1)
			c.alive()
			require.Equal(t, []string{"h", "i"}, s.ch.subscribed())
		})
	})
}

func TestWhatIsQueuedOfASubscriptionThatIsReplacedIsNotLost(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]string{"with a page": `,"after_seq":1`, "without": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			threeGroups(t, func(t *testing.T, s *piped) {
				c := s.stuck(t)
				s.push("g", 3)
				c.write(`{"id":1,"op":"subscribe","group":"g"` + after + `}`)
				synctest.Wait()
				s.push("h", 5) // too many
				s.push("g", 1)
				c.unstuck()
				for seq := int64(1); seq <= 3; seq++ {
					c.message(seq)
				}
				require.NotNil(t, c.next().OK)
				c.resync("h")
				require.Equal(t, "g", c.message(4).Group)
				c.alive()
			})
		})
	}
}

func TestWhatIsLetGoOfAGroupThatTheClientHasLeftIsNotTold(t *testing.T) {
	t.Parallel()
	threeGroups(t, func(t *testing.T, s *piped) {
		c := s.stuck(t)
		s.push("g", 3)
		c.write(`{"id":1,"op":"unsubscribe","group":"g"}`)
		synctest.Wait()
		s.push("h", 2)
		c.unstuck()
		require.Equal(t, int64(1), *c.next().ID)
		c.resync("h")
		c.alive()
	})
}

func TestTheLastWordOfAGroupReachesASlowReader(t *testing.T) {
	t.Parallel()
	threeGroups(t, func(t *testing.T, s *piped) {
		c := s.stuck(t)
		s.push("g", 5) // lost
		s.push("h", 1)
		s.remove("g", "ann")
		s.remove("h", "ann")
		c.unstuck().resync("g")
		c.message(1)
		require.Equal(t, "g", c.next().Group)
		require.Equal(t, "h", c.next().Group)
		c.alive()
		require.Equal(t, []string{"i"}, s.ch.subscribed())
	})
}

func TestThatOneHasJoinedReachesASlowReader(t *testing.T) {
	t.Parallel()
	threeGroups(t, func(t *testing.T, s *piped) {
		s.b.accept("r", 2)
		c := s.stuck(t)
		s.push("g", 4)
		s.b.note("ann", joined("r", 1))
		synctest.Wait()
		s.push("g", 1)
		s.push("r", 1)
		c.unstuck().changed("r", domain.ChangeJoined)
		c.message(2)
		c.resync("g")
		require.Equal(t, "r", c.message(3).Group)
		c.alive()
	})
}

// A long break is repaired faster than any reader reads: page by page it fits into the queues.
func TestARepairDoesNotMakeItsReadersSlow(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		const n = 2000
		s.b.accept("g", n)
		s.Hub().Confirmed("g")
		for seq := int64(1); seq <= n; seq++ {
			c.message(seq)
		}
		c.alive()
		require.InDelta(t, 0, testutil.ToFloat64(s.metrics.slow.WithLabelValues("resync")), 0)
	})
}

func TestManyGroupsAreLostInOneResync(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		var want []string
		for i := range s.cfg.QueueFrames {
			id := fmt.Sprintf("n%03d", i)
			s.b.add(domain.Private, id, "ann")
			want = append(want, id)
		}
		c := s.stuck(t)
		for _, id := range want {
			s.push(id, 1)
		}
		s.push("g", 1)
		c.unstuck().resync(append(want, "g")...)
		c.alive()
	})
}
