package transport

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestSubscribeAnswersThePageAndPushesGoOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		request string
		seqs    []int64
		more    bool
	}{
		"without after_seq":      {`{"id":1,"op":"subscribe","group":"r"}`, []int64{}, false},
		"from the start":         {`{"id":1,"op":"subscribe","group":"r","after_seq":0}`, []int64{1, 2, 5, 6}, false},
		"from within":            {`{"id":1,"op":"subscribe","group":"r","after_seq":2}`, []int64{5, 6}, false},
		"from within a hole":     {`{"id":1,"op":"subscribe","group":"r","after_seq":3}`, []int64{5, 6}, false},
		"from the end":           {`{"id":1,"op":"subscribe","group":"r","after_seq":6}`, []int64{}, false},
		"from beyond the end":    {`{"id":1,"op":"subscribe","group":"r","after_seq":1000}`, []int64{}, false},
		"a page of two":          {`{"id":1,"op":"subscribe","group":"r","after_seq":0,"limit":2}`, []int64{1, 2}, true},
		"a limit above the most": {`{"id":1,"op":"subscribe","group":"r","after_seq":0,"limit":100000}`, []int64{1, 2, 5, 6}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, func(t *testing.T, s *piped) {
				s.b.accept("r", 2)
				s.b.skip("r", 2)
				s.b.accept("r", 2)
				s.b.change(func(b *backend) { b.groups["r"].persisted = 5; b.groups["r"].reads["cy"] = 2 })
				client := s.dial(t, "cy").ready()
				var p page
				client.ok(c.request, &p)
				require.Equal(t, c.seqs, p.seqs())
				require.Equal(t, c.more, p.More)
				require.Equal(t, []int64{6, 2, 2, 5}, []int64{p.MaxSeq, p.ReadSeq, p.Unread, p.PersistedSeq})
				require.Nil(t, p.Role)
				s.push("r", 2)
				require.Nil(t, client.message(7).PrevSeq)
				client.message(8)
				client.alive()
			})
		})
	}
}

func TestSubscribeToldOfTheRole(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		var p page
		s.dial(t, "ann").ready().ok(`{"id":1,"op":"subscribe","group":"g"}`, &p)
		require.Equal(t, "member", *p.Role)
	})
}

func TestRepeatedSubscribeReplacesTheFormer(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready() // subscribed to g already
		s.push("g", 3)
		for seq := int64(1); seq <= 3; seq++ {
			c.message(seq)
		}
		var p page
		for range 3 {
			c.ok(`{"id":1,"op":"subscribe","group":"g","after_seq":1}`, &p)
			require.Equal(t, []int64{2, 3}, p.seqs())
		}
		s.push("g", 1)
		c.message(4)
		c.alive() // once
		c.ok(`{"id":2,"op":"unsubscribe","group":"g"}`, nil)
		require.Empty(t, s.ch.subscribed(), "counted once")
	})
}

func TestFailedRepeatedSubscribeKeepsTheFormer(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		s.push("g", 2)
		c.message(1)
		c.message(2)
		s.b.stall("Recent") // for good: the op runs out of time
		c.write(`{"id":1,"op":"subscribe","group":"g","after_seq":0}`)
		synctest.Wait()
		s.push("g", 2) // held for the page that does not come
		o := c.next()
		require.Equal(t, "message", o.Event, o.raw)
		require.Equal(t, int64(3), o.Seq, "held pushes are not lost with the page")
		c.message(4)
		require.Equal(t, domain.CodeUnavailable, c.next().Error.Code)
		s.push("g", 1)
		c.message(5)

		s.b.change(func(b *backend) { b.before = nil; b.down = errDown })
		c.refused(`{"id":2,"op":"subscribe","group":"g"}`, domain.CodeUnavailable)
		c.refused(`{"id":3,"op":"subscribe","group":"g","after_seq":-1}`, domain.CodeBadRequest)
		s.b.fail(nil)
		s.push("g", 1)
		c.message(6)
		c.alive()
	})
}

func TestFailedFirstSubscribeLeavesNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.accept("r", 1)
		c := s.dial(t, "cy").ready()
		s.b.stall("Recent")
		c.refused(`{"id":1,"op":"subscribe","group":"r","after_seq":0}`, domain.CodeUnavailable)
		require.Empty(t, s.ch.subscribed())
		require.Empty(t, s.hub.feeds)
		s.push("r", 1)
		c.alive()
	})
}

func TestSubscribeWaitsForItsChannel(t *testing.T) {
	t.Parallel()
	inBubble(t, func(o *options) { o.confirmsByHand = true }, func(t *testing.T, s *piped) {
		c := s.dial(t, "cy").ready()
		c.write(`{"id":1,"op":"subscribe","group":"r","after_seq":0}`)
		synctest.Wait()
		s.push("r", 2) // before the channel is there, and in spite of that
		s.b.accept("r", 1)
		synctest.Wait()
		require.Empty(t, c.objects)
		s.Hub().Confirmed("r")
		o := c.next()
		require.NotNil(t, o.OK, o.raw)
		p := decode[page](t, o.OK)
		require.Equal(t, []int64{1, 2, 3}, p.seqs())
		s.push("r", 1)
		c.message(4)
		c.alive()

		c.write(`{"id":2,"op":"unsubscribe","group":"r"}`)
		c.next()
		c.refused(`{"id":3,"op":"subscribe","group":"r"}`, domain.CodeUnavailable) // never confirmed
		require.Empty(t, s.ch.subscribed())
	})
}

func TestSubscribeOfOneAheadOfThisInstance(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		s.b.accept("g", 5) // pushes that got lost on their way here
		var p page
		c.write(`{"id":1,"op":"subscribe","group":"g","after_seq":3}`)
		for seq := int64(1); seq <= 5; seq++ { // of the former subscription
			c.message(seq)
		}
		o := c.next()
		require.NotNil(t, o.OK, o.raw)
		p = decode[page](t, o.OK)
		require.Equal(t, []int64{4, 5}, p.seqs())
		require.Equal(t, int64(5), p.MaxSeq)
	})
}

func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann, bob := s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
		ann.ok(`{"id":1,"op":"unsubscribe","group":"g"}`, nil)
		ann.ok(`{"id":2,"op":"unsubscribe","group":"g"}`, nil)
		ann.ok(`{"id":3,"op":"unsubscribe","group":"never"}`, nil)
		s.push("g", 1)
		bob.message(1)
		ann.alive()
		require.Equal(t, []string{"g"}, s.ch.subscribed(), "bob still follows it")
		bob.ok(`{"id":4,"op":"unsubscribe","group":"g"}`, nil)
		require.Empty(t, s.ch.subscribed())
		ann.ok(`{"id":5,"op":"subscribe","group":"g","after_seq":0}`, nil)
		s.push("g", 1)
		ann.message(2)
		bob.alive()
	})
}

func TestGapsAreFilled(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		lost := s.b.accept("g", 3)
		s.push("g", 1)
		for seq := int64(1); seq <= 4; seq++ {
			require.Nil(t, c.message(seq).PrevSeq)
		}
		require.InDelta(t, 1, testutil.ToFloat64(s.metrics.gaps), 0)
		for _, p := range lost { // late, after all
			s.Hub().Published(p)
		}
		c.alive()

		s.b.skip("g", 3) // 5…7
		s.push("g", 1)
		o := c.message(8)
		require.Equal(t, int64(4), o.prev(), "a hole is told of")
		s.push("g", 1)
		require.Nil(t, c.message(9).PrevSeq)

		s.b.skip("g", 1)
		s.Hub().Confirmed("g")
		synctest.Wait()
		s.push("g", 1)
		require.Equal(t, int64(9), c.message(11).prev(), "also when it was found before")
		c.alive()
	})
}

func TestSeqsThatNothingExplainsAreWaitedFor(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann := s.dial(t, "ann").ready()
		s.b.accept("g", 3)
		s.b.change(func(b *backend) { b.groups["g"].hidden[2] = true })
		s.push("g", 1)
		ann.message(1)
		time.Sleep(2 * time.Second)
		require.Empty(t, ann.objects, "no guessing that it is a hole")
		var p page
		s.dial(t, "bob").ready().ok(`{"id":1,"op":"subscribe","group":"g","after_seq":0}`, &p)
		require.Equal(t, []int64{1}, p.seqs())
		require.Equal(t, int64(1), p.MaxSeq, "so far this instance has handed out")
		s.b.change(func(b *backend) { b.groups["g"].hidden = map[int64]bool{} })
		for seq := int64(2); seq <= 4; seq++ {
			require.Nil(t, ann.message(seq).PrevSeq)
		}
		ann.alive()
	})
}

func TestPageThatNothingExplains(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.accept("r", 4)
		s.b.change(func(b *backend) { b.groups["r"].hidden[3] = true })
		c := s.dial(t, "cy").ready()
		var p page
		c.ok(`{"id":1,"op":"subscribe","group":"r","after_seq":0}`, &p)
		require.Equal(t, []int64{1, 2}, p.seqs(), "it ends before the seq")
		require.True(t, p.More)
		started := time.Now()
		c.refused(`{"id":2,"op":"subscribe","group":"r","after_seq":2}`, domain.CodeUnavailable)
		require.Equal(t, opTimeout, time.Since(started))
		s.push("r", 1)
		c.message(5) // of the former subscription
		time.AfterFunc(time.Second, func() { s.b.change(func(b *backend) { clear(b.groups["r"].hidden) }) })
		c.ok(`{"id":3,"op":"subscribe","group":"r","after_seq":2}`, &p)
		require.Equal(t, []int64{3, 4, 5}, p.seqs())
		c.alive()
	})
}

func TestLostTailIsFoundWhenTheChannelIsConfirmedAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		s.b.accept("g", 450) // more than a page
		c.alive()
		s.b.fail(errDown) // and the stores come back late
		s.Hub().Confirmed("g")
		time.Sleep(time.Second)
		s.b.fail(nil)
		for seq := int64(1); seq <= 450; seq++ {
			c.message(seq)
		}
		s.push("g", 1)
		c.message(451)
		c.alive()
		require.Contains(t, s.log.String(), "feed not repaired")
	})
}

func TestPushesOfAnOlderHistoryAreNotBelieved(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		pushes := s.b.accept("g", 3)
		pushes[0].Gen, pushes[2].Gen = 2, 2
		s.Hub().Published(pushes[0])
		s.Hub().Published(pushes[1]) // of generation 1, behind one of 2
		c.message(1)
		c.alive()
		s.Hub().Published(pushes[2])
		c.message(2)
		c.message(3)
		c.alive()
	})
}

// A push ahead of the head is what a failover leaves behind: the seq is not there, and nobody asks for it in a
// tight loop.
func TestPushAheadOfTheHeadIsWaitedForInPeace(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		var heads atomic.Int64
		s.b.change(func(b *backend) {
			p := b.store(b.groups["g"], "ann", "", textBody("a"))
			p.Seq = 5
			b.before = countHeads(&heads)
			go s.Hub().Published(p)
		})
		time.Sleep(time.Second)
		c.message(1)
		require.LessOrEqual(t, heads.Load(), int64(time.Second/repairRetry)+5)
		c.ok(`{"id":1,"op":"unsubscribe","group":"g"}`, nil)
	})
}

func TestRepeatOfAPushThatWaitsLeavesNothingToRepair(t *testing.T) {
	t.Parallel()
	inBubble(t, func(o *options) { o.confirmsByHand = true }, func(t *testing.T, s *piped) {
		c := s.dial(t, "cy").ready()
		c.write(`{"id":1,"op":"subscribe","group":"r"}`)
		synctest.Wait()
		p := s.b.accept("r", 1)[0]
		s.b.change(func(b *backend) { b.groups["r"].maxSeq = 0 }) // the head is read before the message is there
		s.Hub().Published(p)                                      // kept: the feed is not live
		var heads atomic.Int64
		s.b.change(func(b *backend) { b.before = countHeads(&heads) })
		s.Hub().Confirmed("r")
		s.Hub().Published(p)
		require.NotNil(t, c.next().OK)
		time.Sleep(time.Second)
		require.LessOrEqual(t, heads.Load(), int64(3))
	})
}

func TestSubscribeOfADismissedGroupEndsItsRepair(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		s.push("g", 1)
		c.message(1)
		var heads atomic.Int64
		s.b.change(func(b *backend) { b.groups["g"].Dismissed = true; b.before = countHeads(&heads) })
		late := s.b.accept("g", 2)
		s.Hub().Published(late[1])
		time.Sleep(time.Second)
		require.LessOrEqual(t, heads.Load(), int64(3))
		require.Equal(t, `{"event":"resync","groups":[{"group":"g"}]}`, c.next().raw, "nothing will come any more")
		require.Empty(t, s.ch.subscribed())
		c.refused(`{"id":1,"op":"subscribe","group":"g"}`, domain.CodeGone)
		c.alive()
	})
}
