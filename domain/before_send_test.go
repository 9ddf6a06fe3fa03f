package domain_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// hookFunc is a hook that does as it says.
type hookFunc func(d *domain.Draft) domain.Verdict

func (f hookFunc) Judge(_ context.Context, d *domain.Draft) domain.Verdict { return f(d) }

func withHook(hook hookFunc) (*domain.Sends, *fakeAppender) {
	s, appender, _ := newSends()
	s.UseBeforeSend(hook)
	return s, appender
}

// sendAsked sends and waits for the answer.
func sendAsked(s *domain.Sends, d domain.Draft) (domain.Receipt, error) {
	type answer struct {
		receipt domain.Receipt
		err     error
	}
	answered := make(chan answer, 1)
	s.Send(d, func(r domain.Receipt, err error) { answered <- answer{r, err} }, nil)
	a := <-answered
	return a.receipt, a.err
}

var rejected = domain.Errorf(domain.CodeRejected, "no")

func TestHookAllowsRefusesAndReplaces(t *testing.T) {
	t.Parallel()
	other := []byte(`[{"type":"text","text":"***"}]`)
	for name, c := range map[string]struct {
		verdict domain.Verdict
		body    []byte // nil: refused
	}{
		"allows":   {domain.Verdict{}, hi},
		"replaces": {domain.Verdict{Body: other}, other},
		"refuses":  {domain.Verdict{Refused: rejected, Body: other}, nil},
	} {
		var asked domain.Draft
		s, appender := withHook(func(d *domain.Draft) domain.Verdict {
			asked = *d
			return c.verdict
		})
		draft := domain.Draft{Group: "g", From: "ann", Body: hi, Conn: "conn"}
		_, err := sendAsked(s, draft)
		require.Equal(t, draft, asked, name)
		send := appender.appends[0]
		require.Equal(t, c.verdict.Refused, send.Refused, name)
		require.True(t, send.Judged)
		if c.body == nil {
			require.ErrorIs(t, err, rejected, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, string(c.body), string(send.Body), name)
		hash := domain.ContentHash(hi, nil, 0)
		if send.Replaced() {
			hash = "x" + hash[1:]
		}
		require.Equal(t, hash, send.Hash, "%s: the hash is of what was sent", name)
		require.Equal(t, c.verdict.Body != nil, send.Replaced(), name)
	}
}

func TestRepeatIsKnownWhateverTheHookSaysNow(t *testing.T) {
	t.Parallel()
	verdict := domain.Verdict{Body: []byte(`["first"]`)}
	s, _ := withHook(func(*domain.Draft) domain.Verdict { return verdict })
	d := domain.Draft{Group: "g", From: "ann", Body: hi, ClientID: "c"}
	first, err := sendAsked(s, d)
	require.NoError(t, err)
	for _, verdict = range []domain.Verdict{{}, {Refused: rejected}, {Body: []byte(`["second"]`)}} {
		again, err := sendAsked(s, d)
		require.NoError(t, err)
		require.True(t, again.Duplicate)
		require.Equal(t, first.Seq, again.Seq)
	}
	verdict = domain.Verdict{}
	d.Body = []byte(`["first"]`)
	_, err = sendAsked(s, d)
	requireCode(t, err, domain.CodeConflict, "")
}

func TestRefusedSendIsAskedAboutAgain(t *testing.T) {
	t.Parallel()
	verdict := domain.Verdict{Refused: rejected}
	s, _ := withHook(func(*domain.Draft) domain.Verdict { return verdict })
	d := domain.Draft{Group: "g", From: "ann", Body: hi, ClientID: "c"}
	_, err := sendAsked(s, d)
	require.ErrorIs(t, err, rejected)
	verdict = domain.Verdict{}
	got, err := sendAsked(s, d)
	require.NoError(t, err)
	require.False(t, got.Duplicate)
}

func TestHookIsNotAskedAboutWhatIsNoMessage(t *testing.T) {
	t.Parallel()
	s, appender := withHook(func(*domain.Draft) domain.Verdict {
		t.Error("asked")
		return domain.Verdict{}
	})
	_, err := sendAsked(s, domain.Draft{Group: "a:b", From: "ann", Body: hi})
	requireCode(t, err, domain.CodeBadRequest, "group")
	require.Empty(t, appender.appends)
}

// The hook answers in whatever order; a connection's messages stay in theirs.
func TestSendsOfAConnectionToAGroupKeepTheirOrderBehindTheHook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 30
		s, appender := withHook(func(d *domain.Draft) domain.Verdict {
			var i int
			_, _ = fmt.Sscan(d.ClientID[1:], &i)
			time.Sleep(time.Duration(i*7919%n) * time.Millisecond)
			if i%5 == 0 {
				return domain.Verdict{Refused: rejected}
			}
			return domain.Verdict{}
		})
		started := time.Now()
		var all sync.WaitGroup
		for i := range n {
			all.Add(1)
			d := domain.Draft{Group: fmt.Sprint("g", i%2), From: "ann", Conn: "conn", Body: hi, ClientID: fmt.Sprint("c", i)}
			s.Send(d, func(domain.Receipt, error) { all.Done() }, nil)
		}
		all.Wait()
		require.Less(t, time.Since(started), n*time.Millisecond, "they are asked about at once")
		for _, group := range []string{"g0", "g1"} {
			last := -1
			for _, a := range appender.appends {
				if a.Group == group {
					var i int
					_, _ = fmt.Sscan(a.ClientID[1:], &i)
					require.Greater(t, i, last)
					last = i
				}
			}
		}
		require.Len(t, appender.appends, n)
	})
}

func TestSlowHookHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := withHook(func(d *domain.Draft) domain.Verdict {
			if d.ClientID == "slow" {
				time.Sleep(time.Minute)
			}
			return domain.Verdict{}
		})
		started := time.Now()
		done := make(chan time.Duration, 2)
		answered := func(domain.Receipt, error) { done <- time.Since(started) }
		s.Send(domain.Draft{Group: "g", From: "ann", Conn: "1", Body: hi, ClientID: "slow"}, answered, nil)
		s.Send(domain.Draft{Group: "g", From: "ann", Conn: "1", Body: hi, ClientID: "behind"}, answered, nil)
		for _, d := range []domain.Draft{
			{Group: "other", Conn: "1"}, // another group
			{Group: "g", Conn: "2"},     // another connection
			{Group: "g"},                // over HTTP
		} {
			d.From, d.Body = "ann", hi
			_, err := sendAsked(s, d)
			require.NoError(t, err)
			require.Zero(t, time.Since(started))
		}
		require.Equal(t, time.Minute, <-done)
		require.Equal(t, time.Minute, <-done)
	})
}

func TestDurableWaitIsShorterByWhatTheHookTook(t *testing.T) {
	t.Parallel()
	for hook, want := range map[time.Duration]time.Duration{
		300 * time.Millisecond: time.Second,     // bounded by timeout_ms
		2 * time.Second:        2 * time.Second, // which does not shorten the hook's time
	} {
		synctest.Test(t, func(t *testing.T) {
			s, _ := withHook(func(*domain.Draft) domain.Verdict {
				time.Sleep(hook)
				return domain.Verdict{}
			})
			started := time.Now()
			got, err := sendAsked(s, domain.Draft{Group: "g", From: "ann", Body: hi, Ack: domain.AckDurable, Timeout: time.Second})
			require.NoError(t, err)
			require.False(t, got.Durable)
			require.WithinDuration(t, started.Add(want), time.Now(), time.Millisecond)
		})
	}
}

func TestDrainWaitsForTheHookAndRefusesWhatComesLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, appender := withHook(func(*domain.Draft) domain.Verdict {
			time.Sleep(time.Second)
			return domain.Verdict{}
		})
		for range 3 {
			s.Send(domain.Draft{Group: "g", From: "ann", Conn: "1", Body: hi}, func(domain.Receipt, error) {}, nil)
		}
		s.Drain(ctx)
		require.Len(t, appender.appends, 3)
		_, err := sendAsked(s, domain.Draft{Group: "g", From: "ann", Body: hi})
		requireCode(t, err, domain.CodeUnavailable, "")
	})
	s, _, _ := newSends()
	s.Drain(ctx) // nobody is asked: there is nothing to wait for
}

func TestSoManySendsAreAskedAboutAtOnce(t *testing.T) {
	t.Parallel()
	answer := make(chan struct{})
	s, appender := withHook(func(*domain.Draft) domain.Verdict {
		<-answer
		return domain.Verdict{}
	})
	post := func(user, operator string) {
		s.Send(domain.Draft{Group: "g", From: user, Operator: operator, Body: hi}, func(domain.Receipt, error) {}, nil)
	}
	for range 1000 {
		post("ann", "")
	}
	_, err := sendAsked(s, domain.Draft{Group: "g", From: "ann", Body: hi})
	requireCode(t, err, domain.CodeOverloaded, "")
	for range 19_000 {
		post("system", "shop") // the app's back end may have all there is
	}
	_, err = sendAsked(s, domain.Draft{Group: "g", From: "bob", Body: hi})
	requireCode(t, err, domain.CodeOverloaded, "")
	close(answer)
	require.Eventually(t, func() bool {
		_, err := sendAsked(s, domain.Draft{Group: "g", From: "ann", Body: hi})
		return err == nil
	}, 10*time.Second, time.Millisecond, "there is room again")
	s.Drain(ctx)
	require.Len(t, appender.appends, 20_001)
}
