package jobs_test

import (
	"context"
	"fmt"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

// actor is an instance at work that stops before each of its requests: the test says who goes on and what becomes
// of the request. A coroutine, so that a failing case repeats exactly.
type actor struct {
	name string
	next func() (request string, running bool)
	die  func() // nothing it still does arrives
	out  outcome
}

func (w *world) begin(name string, task func(*client) error) *actor {
	a := &actor{name: name}
	a.next, a.die = iter.Pull(func(yield func(string) bool) {
		c, dead := w.client(name), false
		c.through(func(_ context.Context, request string, _ []domain.LogRange) outcome {
			if dead = dead || !yield(request); dead {
				return requestLost
			}
			return a.out
		})
		_ = task(c) // whatever it says, the next one begins from what is there
	})
	return a
}

// goOn lets the waiting request have its outcome and runs to the next one; false when the task has ended.
func (a *actor) goOn(out outcome) bool {
	a.out = out
	_, running := a.next()
	return running
}

// Writers, drainers and senders take turns request by request; any request or reply may be lost, any of them may die
// and begin again. At no moment does an entry leave the log, or a watermark pass a message, before its row is there.
// Left alone in the end, they store every message once.
func TestNothingIsLostOrDoubledWhateverFails(t *testing.T) {
	t.Parallel()
	old, current := []domain.LogRange{logOf(0, 1), logOf(0, 2)}, []domain.LogRange{logOf(0, 3), logOf(1, 1)}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.older[0] = []int64{1, 2}
		w.marksPage = rapid.IntRange(1, 3).Draw(t, "marks in a page")
		wantMarks := map[domain.GroupUser]int64{}
		mark := func(log domain.LogRange, user string, seq int64) {
			w.read(log, groupIn(log.Partition, 0), user, seq)
			who := domain.GroupUser{Group: groupIn(log.Partition, 0), User: user}
			wantMarks[who] = max(wantMarks[who], seq)
		}
		for i, log := range old {
			w.send(log, groupIn(0, 0), rapid.IntRange(0, 120).Draw(t, "left in an old log"))
			for u := range rapid.IntRange(0, 4).Draw(t, "old marks") {
				mark(log, fmt.Sprint("u", u), int64(10*i+1))
			}
		}
		write := func(c *client) error {
			_, _, err := newWriter(c, 100).Write(context.Background(), current)
			return err
		}
		drain := func(c *client) error { return newWriter(c, 100).Drain(context.Background(), 0, 3) }
		tasks := []func(*client) error{write, write, write, drain, drain}
		actors := make([]*actor, len(tasks))
		begin := func(i int) {
			actors[i] = w.begin(fmt.Sprintf("%d", i), tasks[i])
			actors[i].goOn(answered)
		}
		for i := range tasks {
			begin(i)
		}
		defer func() {
			for _, a := range actors {
				a.die()
			}
		}()
		outcomes := rapid.SampledFrom([]outcome{answered, answered, answered, answered, requestLost, replyLost})
		for range rapid.IntRange(0, 120).Draw(t, "steps") {
			i := rapid.IntRange(-2, len(actors)-1).Draw(t, "who")
			switch {
			case i == -2:
				log := rapid.SampledFrom(current).Draw(t, "log")
				group := groupIn(log.Partition, rapid.IntRange(0, 1).Draw(t, "group"))
				w.send(log, group, rapid.SampledFrom([]int{1, 2, 99, 100, 101}).Draw(t, "messages"))
			case i == -1 && w.isKnown(old[1]):
				mark(old[1], fmt.Sprint("u", rapid.IntRange(0, 4).Draw(t, "user")), int64(20+rapid.IntRange(0, 9).Draw(t, "seq")))
			case i == -1:
			case rapid.IntRange(0, 9).Draw(t, "dies") == 0:
				actors[i].die()
				begin(i)
			case !actors[i].goOn(outcomes.Draw(t, "outcome")):
				begin(i)
			}
			w.requireKept(t)
		}
		for _, a := range actors {
			a.die()
		}
		survivor := w.client("survivor")
		require.NoError(t, drain(survivor))
		for w.backlog() > 0 {
			require.NoError(t, write(survivor))
		}
		w.requireAllStored(t)
		require.Empty(t, w.older[0], "generations that are not forgotten")
		require.Zero(t, w.dirtyMarks(), "marks left")
		require.Equal(t, wantMarks, w.storedMarks())
	})
}

// isKnown tells whether the log's generation is not forgotten yet: marks come to it only until then.
func (w *world) isKnown(log domain.LogRange) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, gen := range w.older[log.Partition] {
		if gen == log.Gen {
			return true
		}
	}
	return false
}
