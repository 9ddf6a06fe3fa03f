package console

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// screen is the reader of a stream.
type screen struct {
	mu       sync.Mutex // guards what follows
	header   http.Header
	text     strings.Builder
	deadline time.Time // of the last write
	broken   bool
	ended    chan struct{}
	leave    context.CancelFunc
}

func (s *screen) Header() http.Header             { return s.header }
func (s *screen) WriteHeader(int)                 {}
func (s *screen) Flush()                          {}
func (s *screen) SetReadDeadline(time.Time) error { return nil }

func (s *screen) SetWriteDeadline(at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = at
	return nil
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return 0, errDown
	}
	return s.text.Write(p)
}

func (s *screen) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.text.String(), what)
}

func (s *screen) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *screen) lastDeadline() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deadline
}

// watch opens a stream, in a bubble.
func watch(t testing.TB, c *Console, path string, change ...func(*http.Request)) *screen {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &screen{header: http.Header{}, ended: make(chan struct{}), leave: cancel}
	go func() {
		defer close(s.ended)
		c.ServeHTTP(s, request("GET", path, "", change...).WithContext(ctx))
	}()
	synctest.Wait()
	return s
}

func (s *screen) hasEnded() bool {
	synctest.Wait()
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// pass lets time pass, and what is due then be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestEventsShowTheOverviewOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		c := newConsole(t, b)
		one, two := watch(t, c, "/console/api/events", asAdmin), watch(t, c, "/console/api/events", asAdmin)
		require.Equal(t, 1, one.count("event: overview\ndata: {"), "at once")
		require.Equal(t, "text/event-stream", one.header.Get("Content-Type"))
		pass(10*time.Second + time.Millisecond)
		require.Equal(t, 11, one.count("event: overview\ndata: {"))
		require.Equal(t, 11, two.count("}\n\n"))
		require.InDelta(t, 11, b.looked(), 1, "for both together")
		require.Equal(t, eventTimeout, time.Until(one.lastDeadline()).Round(time.Second), "a slow reader does not hold it for ever")
		one.leave()
		require.True(t, one.hasEnded())
		require.False(t, two.hasEnded())
		two.mu.Lock()
		two.broken = true
		two.mu.Unlock()
		pass(time.Second)
		require.True(t, two.hasEnded(), "nobody reads it")
		require.Empty(t, c.streams.open)
	})
}

func TestStreamsEndWithTheSessionAndWithTheConsole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConsole(t, &backend{})
		cookie := cookieOf(t, login(t, c, adminKey))
		pass(sessionTTL - time.Minute)
		logged, shown := watch(t, c, "/console/api/events", with(cookie)), watch(t, c, "/console/api/events", asAdmin)
		pass(59 * time.Second)
		require.False(t, logged.hasEnded())
		pass(time.Second)
		require.True(t, logged.hasEnded())
		require.False(t, shown.hasEnded())
		c.Close()
		require.True(t, shown.hasEnded())
		c.Close()
	})
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConsole(t, &backend{})
		var all []*screen
		for n := range maxStreams / maxSessionStreams {
			who := with(cookieOf(t, login(t, c, adminKey)))
			if n == 0 {
				who = asAdmin
			}
			for range maxSessionStreams {
				all = append(all, watch(t, c, "/console/api/events", who))
			}
			refused := do(c, request("GET", "/console/api/events", "", who))
			require.Equal(t, http.StatusServiceUnavailable, refused.StatusCode)
			require.Contains(t, text(t, refused), "this session has as many", "others are not kept out by it")
		}
		stranger := with(cookieOf(t, login(t, c, otherKey)))
		requireRefused(t, do(c, request("GET", "/console/api/events", "", stranger)), domain.CodeOverloaded)
		all[7].leave()
		require.True(t, all[7].hasEnded())
		all = append(all, watch(t, c, "/console/api/groups/tea/events", stranger))
		require.False(t, all[maxStreams].hasEnded())
		for _, s := range all {
			s.leave()
		}
	})
}

func TestOneStreamShowsTheOverviewAndARoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &backend{head: domain.Head{MaxSeq: 4}, page: domain.Page{Messages: []domain.Record{record(4)}}}
		c := newConsole(t, b)
		s := watch(t, c, "/console/api/events?group=tea&after_seq=3", asAdmin)
		require.Equal(t, domain.PullQuery{Group: "tea", After: value(int64(3)), Limit: 200}, b.lastPull())
		require.Equal(t, []int{1, 1}, []int{s.count("event: overview\n"), s.count("event: page\n")})
		b.set(func() { b.pullErr = domain.Unavailable(errDown, "MySQL") })
		pass(2*time.Second + time.Millisecond)
		require.Equal(t, []int{3, 1}, []int{s.count("event: overview\n"), s.count("event: page\n")}, "the overview goes on")
		b.set(func() { b.pullErr, b.head.MaxSeq = nil, 5 })
		pass(time.Second)
		require.Equal(t, 2, s.count("event: page\n"), "and the room with it")
		b.set(func() { b.pullErr = domain.Errorf(domain.CodeGone, "dismissed") })
		pass(2 * time.Second)
		require.Equal(t, 1, s.count("event: refused\ndata: {\"code\":\"gone\",\"detail\":\"dismissed\"}\n\n"), "once")
		require.Equal(t, 6, s.count("event: overview\n"))
		require.False(t, s.hasEnded())
		requireRefused(t, do(c, request("GET", "/console/api/events?group=tea&after_seq=x", "", asAdmin)), domain.CodeBadRequest)
	})
}

// The server's own deadlines are for answers that end.
func TestAStreamOutlivesTheDeadlinesOfItsServer(t *testing.T) {
	t.Parallel()
	c := newConsole(t, &backend{})
	server := httptest.NewUnstartedServer(c)
	server.Config.ReadTimeout, server.Config.WriteTimeout = time.Second, time.Second // three events take two
	server.Config.RegisterOnShutdown(c.Close)
	server.Start()
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/console/api/events", nil)
	require.NoError(t, err)
	asAdmin(r)
	client := server.Client()
	response, err := client.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for seen := 0; seen < 3; {
		require.True(t, lines.Scan(), "the stream has ended: %v", lines.Err())
		if lines.Text() == "event: overview" {
			seen++
		}
	}
	require.NoError(t, server.Config.Shutdown(t.Context()), "it waits for no reader")
	for lines.Scan() {
	}
	require.NoError(t, lines.Err(), "it was ended, not cut")
}

func record(seq int64) domain.Record {
	return domain.Record{Group: "tea", Seq: seq, Tail: fmt.Appendf(nil, `"time_ms":%d,"from":"ann","body":[]}`, seq)}
}

func TestRoomEventsTellWhatIsNew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &backend{
			head: domain.Head{MaxSeq: 4, PersistedSeq: 3}, online: 2,
			page: domain.Page{Messages: []domain.Record{record(3), record(4)}, Holes: domain.Holes{{From: 1, To: 2, Reason: "lost"}}},
		}
		c := newConsole(t, b)
		s := watch(t, c, "/console/api/groups/tea/events", asAdmin)
		require.Equal(t, `event: page
data: {"group":"tea","max_seq":4,"min_seq":1,"messages":[{"group":"tea","seq":3,"time_ms":3,"from":"ann","body":[]},`+
			`{"group":"tea","seq":4,"time_ms":4,"from":"ann","body":[]}],"holes":[{"from":1,"to":2,"reason":"lost"}],"more":false,"persisted_seq":3,"online":2}

`, s.all())
		require.Equal(t, domain.PullQuery{Group: "tea", Limit: 50}, b.lastPull(), "the newest page")

		pass(3*time.Second + time.Millisecond)
		require.Equal(t, 1, s.count("event: page"), "nothing is new")
		require.Equal(t, domain.PullQuery{Group: "tea", After: value(int64(4)), Limit: 200}, b.lastPull())
		b.set(func() { b.head.PersistedSeq = 4 })
		pass(2 * time.Second)
		require.Equal(t, 1, s.count(`"messages":[],"holes":[],"more":false,"persisted_seq":4,"online":2}`), "once")
		b.set(func() {
			b.head.MaxSeq, b.page = 9, domain.Page{Messages: []domain.Record{record(5)}, Holes: domain.Holes{{From: 6, To: 8, Reason: "lost"}}, More: true}
		})
		pass(time.Second)
		require.Equal(t, 1, s.count(`"seq":5,`))
		pass(time.Second)
		require.Equal(t, int64(8), *b.lastPull().After)

		b.set(func() { b.pullErr = domain.Unavailable(errDown, "Redis") })
		pass(30 * time.Second)
		require.False(t, s.hasEnded(), "it may be back in a moment")
		require.Equal(t, 3, s.count(": still here\n\n"), "and whether the reader is there is seen")
		b.set(func() { b.pullErr = domain.Errorf(domain.CodeGone, "dismissed") })
		pass(time.Second)
		require.True(t, s.hasEnded())
	})
}

func TestRoomEventsTellRecallsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &backend{head: domain.Head{MaxSeq: 4}, page: domain.Page{Messages: []domain.Record{record(3), record(4)}}}
		c := newConsole(t, b)
		s := watch(t, c, "/console/api/groups/tea/events", asAdmin)
		b.set(func() {
			b.recalls = []domain.Recall{{Seq: 3, TimeMS: b.NowMS() - 30_000, By: "ann"}, {Seq: 4, TimeMS: b.NowMS() - 90_000, By: "bob"}}
			b.mysqlErr = errDown
		})
		pass(3*time.Second + time.Millisecond)
		require.Zero(t, s.count("recalls"))
		require.False(t, s.hasEnded())
		b.set(func() { b.mysqlErr = nil })
		pass(3 * time.Second)
		told := `"recalls":[{"seq":3,"recalled_ms":1699999971234,"recalled_by":"ann"}]}`
		require.Equal(t, []int{1, 1}, []int{s.count(told), s.count("recalls")}, "once, and no older ones")

		back := watch(t, c, fmt.Sprint("/console/api/events?group=tea&after_seq=4&recalled_after_ms=", b.NowMS()-60_000), asAdmin)
		require.Equal(t, 1, back.count(`{"seq":4,"recalled_ms":1699999911234,"recalled_by":"bob"}]}`), "while it was hidden")
		requireRefused(t, do(c, request("GET", "/console/api/groups/tea/events?recalled_after_ms=x", "", asAdmin)), domain.CodeBadRequest)
	})
}

func TestRoomEventsBeginWhereTheyAreAskedTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &backend{head: domain.Head{MaxSeq: 9}}
		c := newConsole(t, b)
		watch(t, c, "/console/api/groups/tea/events?after_seq=0", asAdmin)
		require.Equal(t, domain.PullQuery{Group: "tea", After: value(int64(0)), Limit: 200}, b.lastPull())
		pass(time.Second + time.Millisecond)
		require.Equal(t, int64(0), *b.lastPull().After, "what was not shown is not passed over")
	})
	c := newConsole(t, &backend{pullErr: domain.Errorf(domain.CodeNotFound, "there is no such group")})
	requireRefused(t, do(c, request("GET", "/console/api/groups/tea/events", "", asAdmin)), domain.CodeNotFound)
	requireRefused(t, do(c, request("GET", "/console/api/groups/tea/events?after_seq=x", "", asAdmin)), domain.CodeBadRequest)
}

func TestTheNewestPageIsAskedForAgainWhileItIsNotThere(t *testing.T) {
	t.Parallel()
	f := &follower{next: domain.PullQuery{Group: "tea"}}
	f.advance(&domain.Head{MaxSeq: 9}, domain.Page{Unexplained: true})
	require.Nil(t, f.next.After, "from 0 on would be the whole history")
	f.advance(&domain.Head{MaxSeq: 9}, domain.Page{})
	require.Equal(t, int64(9), *f.next.After)
}
