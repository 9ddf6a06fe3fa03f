package transport

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// closeBelow ends the generations below gen for the group's partition.
func (s *piped) closeBelow(t *testing.T, group string, gen int64) domain.Unwritten {
	t.Helper()
	u, err := s.hub.journal.Close(domain.Partitions(16).Of(group), gen)
	require.NoError(t, err)
	return u
}

// pushesOf accepts messages whose pushes are of a generation; what of them arrives is up to the test.
func (s *piped) pushesOf(gen int64, group string, n int) []domain.Push {
	pushes := s.b.accept(group, n)
	for i := range pushes {
		pushes[i].Gen = gen
	}
	return pushes
}

func TestWhatIsHandedOutIsInTheJournal(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann := s.dial(t, "ann").ready()
		pushes := s.b.accept("g", 4)
		for _, n := range []int{0, 2, 1, 2} { // one early, one twice; the last one lost
			s.hub.Published(pushes[n])
		}
		for seq := range int64(3) {
			ann.message(seq + 1)
		}
		s.hub.Published(domain.Push{Group: "nobody follows", Gen: 1, Seq: 1, Event: pushes[0].Event})
		s.hub.Persisted("g", 1, 1)
		u := s.closeBelow(t, "g", 2)
		require.Len(t, u.Messages, 2, "what is shown, above the watermark")
		for i, m := range u.Messages {
			seq := int64(i + 2)
			require.Equal(t, seq, m.Seq)
			require.Equal(t, string(textOf(seq)), string(m.Body))
			require.Equal(t, "ann", m.From)
			require.Equal(t, int64(1), m.Gen)
		}
	})
}

// The gap is fetched: Recent notes what it answers with, so the feed need not.
func TestAPushOfAGenerationThatIsOverIsNotHandedOut(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"the next one": false, "one that is early": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, func(t *testing.T, s *piped) {
				ann := s.dial(t, "ann").ready()
				s.push("g", 1)
				ann.message(1)
				synctest.Wait()
				var reads atomic.Int64
				s.b.change(func(b *backend) { b.before = countHeads(&reads) })

				// Redis lost it: the backend knows nothing of it, and its seq is a hole now.
				seq := int64(2)
				if early {
					seq = 4
				}
				lost := domain.Push{Group: "g", Gen: 1, Seq: seq, Event: []byte(`{"event":"message","group":"g","seq":2,"time_ms":1,"from":"eve","body":[]}`)}
				s.closeBelow(t, "g", 2)
				s.hub.Published(lost)
				time.Sleep(time.Second) // far less than the look at the tail
				require.Less(t, reads.Load(), int64(5), "heads read: a push that is not believed is not waited for")
				require.Empty(t, s.feedOf("g").early)

				s.b.skip("g", 1_000_000)
				for _, p := range s.pushesOf(2, "g", 2) {
					s.hub.Published(p)
				}
				ann.message(1_000_002)
				ann.message(1_000_003)
				s.hub.Published(lost) // its time is over in every sense
				ann.alive()
			})
		})
	}
}

// It came before the end of its generation, and waits for what is missing before it.
func TestAnEarlyPushDoesNotOutliveItsGeneration(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann := s.dial(t, "ann").ready()
		s.push("g", 1)
		ann.message(1)
		s.hub.Published(domain.Push{Group: "g", Gen: 1, Seq: 3, Event: []byte(`{"event":"message","group":"g","seq":3,"time_ms":1,"from":"eve","body":[]}`)})
		time.Sleep(time.Second)
		require.Len(t, s.feedOf("g").early, 1, "the head does not know it yet, as after a failover")
		s.closeBelow(t, "g", 2)
		time.Sleep(time.Second)
		f := s.feedOf("g")
		f.mu.Lock()
		require.Empty(t, f.early)
		require.False(t, f.repairing, "nothing is waited for")
		f.mu.Unlock()

		s.b.skip("g", 10)
		s.hub.Published(s.pushesOf(2, "g", 1)[0])
		require.Equal(t, int64(1), ann.message(12).prev())
	})
}

// feedOf is the group's feed, once everybody rests.
func (s *piped) feedOf(group string) *feed {
	synctest.Wait()
	return s.hub.feed(group)
}
