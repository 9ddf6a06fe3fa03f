package transport

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// fakeRanking is a ranking that the test sets: the heats of rooms a, b, c, ….
type fakeRanking struct {
	mu      sync.Mutex // guards what follows
	entries []domain.HotEntry
	asked   []time.Time
	err     error
	stuck   chan struct{} // questions wait until it is closed, or given up
}

func (r *fakeRanking) set(heats ...int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = nil
	for i, heat := range heats {
		r.entries = append(r.entries, domain.HotEntry{Rank: i + 1, Group: string(rune('a' + i)), Type: domain.Room, Heat: heat})
	}
}

func (r *fakeRanking) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *fakeRanking) times() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.asked)
}

func (r *fakeRanking) Page(ctx context.Context, actor domain.Actor, q domain.HotQuery) (*domain.HotPage, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if actor.IsServer() || q.Type != "" || q.Limit != domain.MaxWatchedHot || q.Cursor != "" {
		panic(fmt.Sprintf("asked for %+v as %+v", q, actor))
	}
	r.asked = append(r.asked, time.Now())
	if stuck := r.stuck; stuck != nil {
		r.mu.Unlock()
		select {
		case <-stuck:
		case <-ctx.Done():
		}
		r.mu.Lock()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Every snapshot has an id and a time of its own, whether anything has changed or not.
	page := &domain.HotPage{HotSnapshot: domain.HotSnapshot{
		ID: fmt.Sprint("s", len(r.asked)), TimeMS: int64(len(r.asked)), Entries: r.entries[:min(len(r.entries), q.Limit)],
	}, Total: len(r.entries)}
	return page, r.err
}

// board is the next object, which must be a ranking; it is told by its heats.
func (c *client) board() string {
	c.t.Helper()
	o := c.next()
	require.Equal(c.t, "hot", o.Event, o.raw)
	return heatsOf(c.t, o)
}

func heatsOf(t testing.TB, o object) string {
	t.Helper()
	got := decode[struct {
		Groups []struct {
			Heat int `json:"heat"`
		} `json:"groups"`
		WindowMS int64  `json:"window_ms"`
		Cursor   string `json:"cursor"`
	}](t, []byte(o.raw))
	require.Equal(t, int64(300_000), got.WindowMS)
	var heats []string
	for _, g := range got.Groups {
		heats = append(heats, fmt.Sprint(g.Heat))
	}
	if got.Cursor != "" {
		_, from, _ := strings.Cut(got.Cursor, ".")
		heats = append(heats, "then "+from)
	}
	return strings.Join(heats, " ")
}

const watch = `{"id":1,"op":"hot","watch":true}`

func TestWhoWatchesSeesTheRankingWhenItChanges(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		s.ranking.set(3, 1)
		c.ok(watch, nil)
		require.Equal(t, "3 1", c.board())
		time.Sleep(10 * time.Second)
		c.alive() // snapshots come and go, and nothing has changed
		s.ranking.set(3, 2)
		time.Sleep(boardInterval)
		require.Equal(t, "3 2", c.board())
		s.ranking.set()
		time.Sleep(boardInterval)
		require.Empty(t, c.board())
		c.alive()
		c.ok(`{"id":2,"op":"hot","watch":false}`, nil)
		s.ranking.set(9)
		time.Sleep(10 * time.Second)
		c.alive()
	})
}

func TestAnEmptyRankingIsShownToWhoBeginsToWatch(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		c.ok(watch, nil)
		require.Equal(t, `{"event":"hot","snapshot":"s1","time_ms":1,"window_ms":300000,"groups":[]}`, c.next().raw)
	})
}

func TestTheRankingIsAskedForOnceForAllAndNotForNobody(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.ranking.set(3, 2, 1)
		clients := make([]*client, 20)
		for i := range clients {
			clients[i] = s.dial(t, fmt.Sprint("u", i)).ready()
		}
		time.Sleep(10 * time.Second)
		require.Zero(t, s.ranking.times(), "nobody watches")
		began := time.Now()
		for _, c := range clients {
			c.ok(watch, nil)
			require.Equal(t, "3 2 1", c.board())
		}
		for n := range 5 {
			s.ranking.set(10 + n)
			time.Sleep(boardInterval)
			for _, c := range clients {
				require.Equal(t, fmt.Sprint(10+n), c.board())
			}
		}
		rounds := 1 + int(time.Since(began)/boardInterval)
		require.Equal(t, rounds, s.ranking.times())
		for _, c := range clients[:10] {
			c.ok(`{"id":2,"op":"hot","watch":false}`, nil)
		}
		for _, c := range clients[10:] { // and these just go
			require.NoError(t, c.ws.Close())
		}
		time.Sleep(2 * boardInterval)
		asked := s.ranking.times()
		require.LessOrEqual(t, asked, rounds+1)
		time.Sleep(time.Minute)
		require.Equal(t, asked, s.ranking.times(), "nobody watches any more")
		s.boards.work.Wait() // nor is anything left running
		require.Empty(t, s.boards.watchers)
	})
}

func TestWatchersWithOneLimitShareBytes(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.ranking.set(5, 4, 3, 2)
		for limit, want := range map[string]string{
			"": "5 4 3 2", `,"limit":1`: "5 then 1", `,"limit":3`: "5 4 3 then 3", `,"limit":4`: "5 4 3 2", `,"limit":1000`: "5 4 3 2",
		} {
			for range 2 {
				c := s.dial(t, "ann").ready()
				c.ok(`{"id":1,"op":"hot","watch":true`+limit+`}`, nil)
				require.Equal(t, want, c.board())
			}
		}
		time.Sleep(2 * boardInterval)
		s.boards.mu.Lock()
		defer s.boards.mu.Unlock()
		require.Len(t, s.boards.watchers, 10)
		require.Len(t, s.boards.boards, 4)
	})
}

func TestALimitSeesOnlyWhatChangesWithinIt(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.ranking.set(5, 4, 3)
		c := s.dial(t, "ann").ready()
		c.ok(`{"id":1,"op":"hot","watch":true,"limit":2}`, nil)
		require.Equal(t, "5 4 then 2", c.board())
		s.ranking.set(5, 4, 1)
		time.Sleep(2 * boardInterval)
		c.alive()
		s.ranking.set(5, 4)
		time.Sleep(boardInterval)
		require.Equal(t, "5 4", c.board(), "there is no other page any more")
		c.ok(`{"id":2,"op":"hot","watch":true,"limit":1}`, nil)
		time.Sleep(boardInterval)
		require.Equal(t, "5 then 1", c.board(), "another limit in place of the first")
		c.alive()
	})
}

// However a connection begins and ends to watch, it is shown no more than one ranking a second, and Redis is asked no more often.
func TestNobodySeesMoreThanOneRankingASecond(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		other, c := s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
		s.ranking.set(1)
		other.ok(watch, nil)
		require.Equal(t, "1", other.board())
		heat, watching, began := 1, false, time.Now()
		var last time.Time
		boards := 0
		for i := range 6000 {
			time.Sleep(10 * time.Millisecond)
			heat++
			s.ranking.set(heat)
			if i%29 == 0 || i%67 == 0 || i%167 < 2 {
				watching = !watching
				c.write(fmt.Sprintf(`{"id":1,"op":"hot","watch":%v}`, watching))
			}
			synctest.Wait()
			for len(c.objects) > 0 {
				if o := c.next(); o.Event == "hot" {
					require.GreaterOrEqual(t, time.Since(last), boardInterval)
					last = time.Now()
					boards++
				}
			}
			for len(other.objects) > 0 {
				other.board()
			}
		}
		require.LessOrEqual(t, s.ranking.times(), 2+int(time.Since(began)/boardInterval))
		require.Greater(t, boards, 20)
	})
}

func TestASlowReaderMissesRankingsAndNothingElse(t *testing.T) {
	t.Parallel()
	inBubble(t, func(o *options) { o.cfg.WriteTimeout = time.Hour }, func(t *testing.T, s *piped) {
		c := s.dialSilently(t, "ann", time.Hour)
		s.ranking.set(0)
		synctest.Wait() // the welcome is on its way to it, and stays so
		c.write(watch)
		synctest.Wait()
		for heat := 1; heat <= 8; heat++ {
			s.ranking.set(heat)
			s.push("g", 32) // 256 pushes may wait, and do
			time.Sleep(boardInterval)
			synctest.Wait()
		}
		conn := s.open()[0]
		conn.mu.Lock()
		boards, bytes := 0, 0
		for _, q := range conn.queue {
			bytes += len(q.object)
			if q.board {
				boards++
			}
		}
		require.Equal(t, 1, boards)
		require.Equal(t, bytes, conn.queuedBytes)
		conn.mu.Unlock()
		c.startReading()
		c.ready()
		var got []string
		next := int64(1)
		for next <= 256 {
			switch o := c.next(); {
			case o.Event == "hot":
				got = append(got, heatsOf(t, o))
			case o.Event == "message":
				require.Equal(t, next, o.Seq)
				next++
			default:
				require.NotNil(t, o.OK, o.raw)
			}
		}
		require.Equal(t, []string{"8"}, got)
		c.alive()
		for _, action := range []string{"resync", "close"} {
			require.Zero(t, testutil.ToFloat64(s.metrics.slow.WithLabelValues(action)))
		}
	})
}

func TestARankingThatCannotBeHadIsShownLater(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.ranking.fail(domain.Unavailable(errDown, "Redis"))
		c := s.dial(t, "ann").ready()
		c.ok(watch, nil)
		time.Sleep(5 * time.Second)
		c.alive()
		require.Equal(t, 1, strings.Count(s.log.String(), "ranking not shown"), "one line, not one a second")
		s.ranking.set(2)
		s.ranking.fail(nil)
		time.Sleep(boardInterval)
		require.Equal(t, "2", c.board())
		require.Contains(t, s.log.String(), "ranking shown again")
	})
}

func TestTheLastWatcherGivesItsQuestionUp(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.ranking.stuck = make(chan struct{})
		c := s.dial(t, "ann").ready()
		c.ok(watch, nil)
		synctest.Wait()
		require.Equal(t, 1, s.ranking.times())
		began := time.Now()
		require.NoError(t, c.ws.Close())
		synctest.Wait()
		s.boards.work.Wait()
		require.Equal(t, began, time.Now())
		again := s.dial(t, "ann").ready()
		again.ok(watch, nil)
		time.Sleep(boardInterval)
		synctest.Wait()
		s.boards.mu.Lock()
		s.boards.cancel() // as the last one does, just before another comes
		s.boards.mu.Unlock()
		synctest.Wait()
		close(s.ranking.stuck)
		require.Empty(t, again.board())
		require.NotContains(t, s.log.String(), "ranking")
	})
}

func TestWatchingIsRefused(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		for request, field := range map[string]string{
			`"limit":1`:                 "watch: ",
			`"watch":1`:                 "watch: ",
			`"watch":null`:              "watch: ",
			`"watch":true,"limit":0`:    "limit: ",
			`"watch":true,"limit":-1`:   "limit: ",
			`"watch":true,"limit":"1"`:  "limit: ",
			`"watch":false,"limit":10`:  "limit: ",
			`"watch":true,"type":"all"`: "type: unknown field",
		} {
			o := c.refused(`{"id":1,"op":"hot",`+request+`}`, domain.CodeBadRequest)
			require.True(t, strings.HasPrefix(o.Error.Message, field), "%s: %s", request, o.Error.Message)
		}
		require.Zero(t, s.ranking.times())
		c.ok(`{"id":1,"op":"hot","watch":false}`, nil) // who does not watch need not know
	})
}
