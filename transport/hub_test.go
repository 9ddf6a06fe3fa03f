package transport

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestDrainSaysGoodbye(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		clients := make([]*client, 0, 10)
		for range cap(clients) {
			clients = append(clients, s.dial(t, "ann").ready())
		}
		s.push("g", 1) // what is queued comes first
		started := time.Now()
		s.Hub().Drain(context.Background(), 100*time.Millisecond)
		require.Equal(t, 90*time.Millisecond+leaveGrace, time.Since(started), "spread, and the last one's grace")
		require.Empty(t, s.open())
		different := map[int64]bool{}
		for _, c := range clients {
			c.message(1)
			o := c.goodbye(domain.CloseShuttingDown)
			different[*o.ReconnectAfterMS] = true
		}
		require.Greater(t, len(different), 1, "not all at once")
		require.Empty(t, s.ch.subscribed())

		s.turnedAway(t, "bob", http.StatusServiceUnavailable) // the listener is still open
		require.Empty(t, s.open())
	})
}

func TestDrainOfFewTakesLittleTime(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.dial(t, "ann").ready()
		s.dial(t, "bob").ready()
		started := time.Now()
		s.Hub().Drain(context.Background(), time.Minute)
		require.Equal(t, maxClosePause+leaveGrace, time.Since(started))
	})
}

func TestDrainOfNobodyTakesNoTime(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		started := time.Now()
		s.Hub().Drain(context.Background(), time.Minute)
		require.Equal(t, started, time.Now())
	})
}

func TestDrainDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.dialSilently(t, "ann", time.Hour) // will not read its goodbye
		answers := s.dialSilently(t, "bob", time.Hour)
		answers.ws.SetCloseHandler(func(int, string) error { return nil }) // will not close its side
		answers.startReading()
		answers.ready()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		started := time.Now()
		s.Hub().Drain(ctx, time.Second)
		require.LessOrEqual(t, time.Since(started), 3*time.Second)
		require.Empty(t, s.open())
		answers.goodbye(domain.CloseShuttingDown)
	})
}

// drain drains beside the caller; the time it took comes when it is over.
func (s *piped) drain() (took chan time.Duration) {
	took = make(chan time.Duration, 1)
	started := time.Now()
	go func() {
		s.Hub().Drain(context.Background(), 0)
		took <- time.Since(started)
	}()
	synctest.Wait()
	return took
}

func TestDrainAnswersWhatWasOnItsWay(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		s.b.change(func(b *backend) { b.holding = true })
		c.write(sendOf(1, "g", "before", ""))
		synctest.Wait()
		goOn := s.b.stall("Heads")
		c.write(`{"id":2,"op":"pull","group":"g"}`)
		synctest.Wait()
		took := s.drain()
		c.goodbyeFirst(domain.CloseShuttingDown)

		time.Sleep(leaveGrace - time.Millisecond)
		c.write(sendOf(3, "g", "on its way", ""))
		time.Sleep(2 * time.Millisecond)
		c.write(sendOf(4, "g", "too late", ""))
		c.write("nonsense")
		c.write(`{"id":5,"op":"ping"}`)
		synctest.Wait()
		require.Empty(t, c.objects)

		goOn()
		require.Equal(t, int64(2), *c.next().ID)
		time.Sleep(time.Second)
		s.b.release()
		for _, id := range []int64{1, 3} {
			o := c.next()
			require.NotNil(t, o.OK, o.raw)
			require.Equal(t, id, *o.ID)
			if id == 1 {
				c.message(1)
			}
		}
		c.closed(domain.CloseShuttingDown) // with the last answer: its push is for the next connection
		require.Equal(t, leaveGrace+time.Second+time.Millisecond, <-took)
		require.Equal(t, []string{string(textBody("before")), string(textBody("on its way"))}, s.b.bodies())
	})
}

func TestDrainWaitsForAnswersThreeSeconds(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"of a send": sendOf(1, "g", "a", ""), "of another op": `{"id":1,"op":"pull","group":"g"}`,
		"of a durable send": sendOf(1, "r", "a", `,"ack":"durable","timeout_ms":10000`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, func(t *testing.T, s *piped) {
				c, idle := s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
				s.b.change(func(b *backend) { b.holding = name == "of a send" })
				goOn := s.b.stall("Heads")
				c.write(request)
				synctest.Wait()
				started := time.Now()
				took := s.drain()
				idle.goodbye(domain.CloseShuttingDown)
				require.Equal(t, leaveGrace, time.Since(started))
				c.goodbye(domain.CloseShuttingDown)
				require.Equal(t, leaveGrace+leaveTimeout, time.Since(started))
				goOn()
				s.b.release() // an answer for nobody
				<-took
			})
		})
	}
}

func TestACloseForAnotherReasonWhileLeaving(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		took := s.drain()
		c.goodbyeFirst(domain.CloseShuttingDown)
		s.b.note("ann", domain.Note{Kind: domain.NoteClose, Code: domain.CloseRemoved, Reason: "removed"})
		c.goodbye(domain.CloseRemoved) // which does not mean: reconnect
		require.Zero(t, <-took)
	})
}

func TestDrainDoesNotPutOffACloseThatIsUnderWay(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dialSilently(t, "ann", time.Hour)
		c.ws.SetCloseHandler(func(int, string) error { return nil }) // will not close its side
		c.startReading()
		c.ready()
		s.open()[0].close(domain.CloseReplaced, "replaced")
		c.goodbye(domain.CloseReplaced)
		synctest.Wait()
		require.LessOrEqual(t, <-s.drain(), closeTimeout)
	})
}

func TestFirstCloseCounts(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		conn := s.open()[0]
		conn.close(domain.CloseTooMany, "first")
		conn.close(domain.CloseAbuse, "second") // the first one counts
		conn.push([]byte(`{"event":"late"}`))
		conn.reply([]byte(`{"ok":{}}`))
		o := c.goodbye(domain.CloseTooMany)
		require.Contains(t, o.raw, `"reason":"first"`)
		var closed *websocket.CloseError
		require.ErrorAs(t, c.err, &closed)
		require.Equal(t, "first", closed.Text)
	})
}

func TestALostLastPushIsFound(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Hub().Run(ctx) }()
		c := s.dial(t, "ann").ready()
		s.push("g", 1)
		c.message(1)
		s.b.accept("g", 2) // their pushes are lost, and nothing comes behind them
		time.Sleep(2*tailInterval - time.Second)
		c.alive() // what is on its way has its time
		time.Sleep(2 * time.Second)
		c.message(2)
		c.message(3)

		s.push("g", 1)
		c.message(4)
		time.Sleep(4 * tailInterval)
		c.alive()
		stop()
		require.NoError(t, <-done)
	})
}
