package transport

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// recallNotice is what pub/sub brings of a recall.
func recallNotice(seq int64) (domain.Recall, domain.Notice) {
	r := domain.Recall{Group: "g", Seq: seq, TimeMS: time.Now().UnixMilli(), By: "ann"}
	return r, domain.Notice{Event: domain.RecallEvent(r), Recall: &r}
}

func TestRecallOp(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann := s.dial(t, "ann").ready()
		s.push("g", 2)
		ann.message(1)
		ann.message(2)
		ann.ok(`{"id":1,"op":"recall","group":"g","seq":2}`, nil)
		for _, bad := range []string{`"group":"g"`, `"group":"g","seq":0`, `"seq":1`, `"group":"g","seq":1,"force":true`} {
			ann.refused(`{"id":2,"op":"recall",`+bad+`}`, domain.CodeBadRequest)
		}
		_, err := s.history.One(t.Context(), domain.Actor{User: "ann"}, "g", 2)
		require.NoError(t, err)
	})
}

func TestRecallsAreToldToTheSubscribers(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann, cy := s.dial(t, "ann").ready(), s.dial(t, "cy").ready()
		s.push("g", 2)
		ann.message(1)
		ann.message(2)
		_, n := recallNotice(1)
		s.Hub().Noticed("g", n)
		require.Equal(t, string(n.Event), ann.next().raw)
		ann.alive()
		cy.alive()
	})
}

// The word of a recall overtakes its message when that waits for one before it.
func TestWhatIsRecalledBeforeItIsHandedOutHasNoContent(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann := s.dial(t, "ann").ready()
		s.b.change(func(b *backend) { b.before = failing("Recent") })
		s.b.change(func(b *backend) { b.store(b.groups["g"], "ann", "", textBody("one")) }) // its push is lost
		s.push("g", 1)
		_, n := recallNotice(2)
		s.Hub().Noticed("g", n)
		ann.alive()
		s.b.change(func(b *backend) { b.before = nil })
		ann.message(1)
		tombstone := ann.next()
		require.Equal(t, int64(2), tombstone.Seq)
		require.NotContains(t, tombstone.raw, "body")
		require.Contains(t, tombstone.raw, `"recalled_by":"ann"`)
		require.Equal(t, string(n.Event), ann.next().raw, "for those who have pulled it")
		ann.alive()
	})
}

// What pub/sub did not bring is told behind the break; once too often does no harm.
func TestRecallsDuringABreakOfPubSubAreTold(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann := s.dial(t, "ann").ready()
		s.push("g", 3)
		for seq := range int64(3) {
			ann.message(seq + 1)
		}
		time.Sleep(10 * time.Minute)
		old, missed := domain.Recall{Group: "g", Seq: 1, TimeMS: time.Now().Add(-90 * time.Second).UnixMilli(), By: "ann"}, domain.Recall{}
		missed, _ = recallNotice(2)
		s.b.change(func(b *backend) { b.groups["g"].recalls = []domain.Recall{old, missed} })
		stop := s.run(t)
		time.Sleep(2 * tailInterval) // until then, pub/sub worked
		stop()
		synctest.Wait()
		ann.alive()
		s.Hub().Confirmed("g")
		require.Equal(t, string(domain.RecallEvent(missed)), ann.next().raw)
		ann.alive()
	})
}

// Recalls have Redis' times, whatever this machine's clock shows.
func TestRecallsAreLookedForByTheClockOfRedis(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.Hub().clock = behind(10 * time.Minute)
		ann := s.dial(t, "ann").ready()
		s.push("g", 1)
		ann.message(1)
		missed, _ := recallNotice(1)
		missed.TimeMS = s.Hub().clock.NowMS()
		s.b.change(func(b *backend) { b.groups["g"].recalls = []domain.Recall{missed} })
		s.Hub().Confirmed("g")
		require.Equal(t, string(domain.RecallEvent(missed)), ann.next().raw)
		ann.alive()
	})
}

// behind is the clock of a Redis that is so much behind this machine's.
type behind time.Duration

func (b behind) NowMS() int64 { return time.Now().Add(-time.Duration(b)).UnixMilli() }

// More are recalled than are kept: what pub/sub has brought of their messages is let go, and read again.
func TestMoreRecallsThanAreKeptAreAskedFor(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann := s.dial(t, "ann").ready()
		s.b.change(func(b *backend) { b.before = failing("Recent") })
		s.b.change(func(b *backend) { b.store(b.groups["g"], "ann", "", textBody("one")) }) // its push is lost
		s.push("g", 1)
		for n := range int64(maxEarly + 1) {
			_, notice := recallNotice(maxEarly + 2 - n)
			s.Hub().Noticed("g", notice)
		}
		require.Equal(t, "resync", ann.next().Event)
		s.b.change(func(b *backend) { b.before = nil })
		ann.alive()
	})
}

// Of a generation that is over it is not believed: what is true is looked for.
func TestARecallOfAnOlderGenerationIsLookedFor(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann := s.dial(t, "ann").ready()
		s.push("g", 2)
		ann.message(1)
		ann.message(2)
		_, err := s.Hub().journal.Close(domain.Partitions(16).Of("g"), 2)
		require.NoError(t, err)
		written, notice := recallNotice(1)
		notice.Recall.Gen = 1
		s.Hub().Noticed("g", notice)
		ann.alive()
		s.b.change(func(b *backend) { b.groups["g"].recalls = []domain.Recall{written} })
		_, notice = recallNotice(2)
		notice.Recall.Gen = 1
		s.Hub().Noticed("g", notice)
		require.Equal(t, string(domain.RecallEvent(written)), ann.next().raw)
		ann.alive()
	})
}

// The recalls of a break were read already when one more comes, before the members are known.
func TestARecallWhileABreakIsLookedIntoIsTold(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann := s.dial(t, "ann").ready()
		s.push("g", 2)
		ann.message(1)
		ann.message(2)
		goOn := s.b.stall("Roles")
		s.Hub().Confirmed("g")
		synctest.Wait()
		recall, n := recallNotice(1)
		s.b.change(func(b *backend) { b.groups["g"].recalls = []domain.Recall{recall} })
		s.Hub().Noticed("g", n)
		goOn()
		require.Equal(t, string(n.Event), ann.next().raw)
		ann.alive()
	})
}

// A push from before a break may be of a message that was recalled during it.
func TestWhatWaitedThroughABreakAndWasRecalledHasNoContent(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann := s.dial(t, "ann").ready()
		s.b.change(func(b *backend) { b.before = failing("Recent") })
		s.b.change(func(b *backend) { b.store(b.groups["g"], "ann", "", textBody("one")) }) // its push is lost
		s.push("g", 1)
		synctest.Wait()
		recall, _ := recallNotice(2)
		s.b.change(func(b *backend) { b.groups["g"].recalls = []domain.Recall{recall} })
		s.Hub().Confirmed("g")
		synctest.Wait()
		s.b.change(func(b *backend) { b.before = nil })
		ann.message(1)
		tombstone := ann.next()
		require.Equal(t, int64(2), tombstone.Seq)
		require.NotContains(t, tombstone.raw, "body")
		ann.alive()
	})
}
