package transport

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// refill takes the group's holes away: the messages of their seqs are back. tell tells it.
func (s *piped) refill(id string) (tell func()) {
	first := int64(0)
	s.b.change(func(b *backend) {
		g := b.groups[id]
		top := g.maxSeq
		for _, h := range g.holes {
			for seq := h.From; seq <= h.To; seq++ {
				if first == 0 {
					first = seq
				}
				g.maxSeq = seq - 1
				b.store(g, "ann", "", textOf(seq))
			}
		}
		g.maxSeq, g.holes = top, nil
		slices.SortFunc(g.records, func(a, b domain.Record) int { return int(a.Seq - b.Seq) })
	})
	return func() { s.Hub().Noticed(id, domain.Notice{Repaired: true, After: first - 1}) }
}

// repaired reads the next object, which must tell to begin the group again behind after.
func (c *client) repaired(group string, after int64) {
	c.t.Helper()
	require.Equal(c.t, `{"event":"resync","groups":[{"group":"`+group+`","after_seq":`+strconv.FormatInt(after, 10)+`}]}`, c.next().raw)
}

func TestEverySubscriberOfARepairedGroupIsToldWhereToBeginAgain(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]int{"from the start": 0, "from later on": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, func(t *testing.T, s *piped) {
				s.b.add(domain.Private, "h", "ann")
				s.b.accept("g", lost)
				s.b.skip("g", 2)
				ann, bob := s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
				s.push("g", 1)
				ann.message(int64(lost + 3))
				bob.message(int64(lost + 3))
				s.refill("g")()
				ann.repaired("g", int64(lost))
				bob.repaired("g", int64(lost))
				s.push("g", 1)
				s.push("h", 1)
				require.Equal(t, "h", ann.message(1).Group, "other groups go on, this one is not pushed until it is subscribed")
				var p page
				ann.ok(`{"id":1,"op":"subscribe","group":"g","after_seq":`+strconv.Itoa(lost)+`}`, &p)
				require.Equal(t, []int64{int64(lost + 1), int64(lost + 2), int64(lost + 3), int64(lost + 4)}, p.seqs())
				require.Empty(t, p.Holes)
				s.push("g", 1)
				ann.message(int64(lost + 5))
				ann.alive()
				bob.alive()
			})
		})
	}
}

// looks lets the hub look at the heads for some seconds.
func (s *piped) looks(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Hub().Run(ctx) }()
	time.Sleep(d)
	cancel()
	require.NoError(t, <-done)
}

// Pub/sub may break in the very moment in which a repair is told.
func TestARepairOfWhichTheWordGotLostIsSeenInTheHoles(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.accept("g", 2)
		s.b.skip("g", 3)
		c := s.dial(t, "ann").ready()
		s.push("g", 1)
		c.message(6)
		s.b.skip("g", 2) // more holes are no repair
		s.push("g", 1)
		c.message(9)
		s.looks(t, 10*time.Second)
		c.alive()
		s.refill("g") // not told
		s.looks(t, 10*time.Second)
		c.repaired("g", 2)
		c.ok(`{"id":1,"op":"subscribe","group":"g","after_seq":2}`, nil)
		s.looks(t, 10*time.Second)
		c.alive() // told once
	})
}

// A head that was read before the one of the last look, or holes that were read in MySQL before and written to Redis
// behind those of now, lack what has expired meanwhile.
func TestExpiredMessagesDoNotComeBack(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.skip("g", 3)
		s.b.accept("g", 1)
		c := s.dial(t, "ann").ready()
		for _, holes := range []domain.Holes{
			{{From: 1, To: 2, Reason: domain.HoleExpired}, {From: 3, To: 3, Reason: domain.HoleLost}},
			{{From: 3, To: 3, Reason: domain.HoleLost}},
		} {
			s.b.change(func(b *backend) { b.groups["g"].holes = holes })
			s.looks(t, 10*time.Second)
		}
		c.alive()
	})
}

func TestARepairThatWasToldIsNotToldAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.skip("g", 3)
		s.b.accept("g", 1)
		c := s.dial(t, "ann").ready()
		s.looks(t, 10*time.Second)
		s.refill("g")()
		c.repaired("g", 0)
		c.ok(`{"id":1,"op":"subscribe","group":"g","after_seq":0}`, nil)
		s.looks(t, 10*time.Second)
		c.alive()
	})
}

func TestARepairWhileThePageIsReadIsToldBehindTheReply(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.skip("r", 2)
		s.b.accept("r", 1)
		c := s.dial(t, "cy").ready()
		goOn := s.b.stall("Recent")
		c.write(`{"id":1,"op":"subscribe","group":"r","after_seq":0}`)
		synctest.Wait()
		s.Hub().Noticed("r", domain.Notice{Repaired: true, After: 2})
		s.Hub().Noticed("r", domain.Notice{Repaired: true, After: 1})
		s.push("r", 1)
		goOn()
		require.NotNil(t, c.next().OK)
		c.repaired("r", 1)
		s.push("r", 1)
		c.alive() // no longer subscribed
		require.Empty(t, s.hub.feeds, "nor followed")
	})
}

func TestARepairWhileAPageCannotBeReadEndsTheFormerSubscription(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.skip("g", 2)
		c := s.dial(t, "ann").ready()
		s.b.stall("Recent") // for good
		c.write(`{"id":1,"op":"subscribe","group":"g","after_seq":0}`)
		synctest.Wait()
		s.Hub().Noticed("g", domain.Notice{Repaired: true, After: 1})
		s.push("g", 1) // held for the page that does not come
		c.message(3)
		c.repaired("g", 1)
		require.Equal(t, domain.CodeUnavailable, c.next().Error.Code)
		s.push("g", 1)
		c.alive()
	})
}

// The head is read before there is a subscription to be told.
func TestARepairBehindTheLookAtTheHeadIsInThePage(t *testing.T) {
	t.Parallel()
	inBubble(t, func(o *options) { o.confirmsByHand = true }, func(t *testing.T, s *piped) {
		s.b.skip("r", 2)
		s.b.accept("r", 1)
		c := s.dial(t, "cy").ready()
		c.write(`{"id":1,"op":"subscribe","group":"r","after_seq":0}`)
		synctest.Wait()
		s.refill("r") // told where nobody listens yet
		s.Hub().Confirmed("r")
		o := c.next()
		require.NotNil(t, o.OK, o.raw)
		p := decode[page](t, o.OK)
		require.Empty(t, p.Holes)
		require.Equal(t, []int64{1, 2, 3}, p.seqs())
	})
}

// Between the head and the subscription the last follower may leave, and with him the feed that is told of a repair.
func TestAFeedDoesNotKnowTheRepairsOfTheOneBefore(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		follow := func() *feed { return s.hub.follow(t.Context(), []string{"r"})[0] }
		first := follow()
		before := s.hub.repairsOf("r")
		s.hub.unfollow(first)
		s.Hub().Noticed("r", domain.Notice{Repaired: true, After: 1})
		second := follow()
		require.False(t, before == s.hub.repairsOf("r")) // as the subscriber compares
		s.hub.unfollow(second)
	})
}
